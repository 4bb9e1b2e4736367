/** Which backend a plan is for, as far as its bytes depend on it: workspaces are the backend's own. */
import { cpuWorkspaceBytes } from './cpu-workspace.js'
import { cudaWorkspaceBytes } from './cuda-workspace.js'
import type { WorkspaceBytes } from './entries.js'

export const BACKENDS = ['cpu', 'cuda'] as const
export type BackendName = (typeof BACKENDS)[number]

export interface Target {
  /** Default: cpu. */
  readonly backend?: BackendName
  /** Threads of the CPU's compute pool; nothing depends on it elsewhere. */
  readonly threads: number
}

/** Bytes of workspace that each kernel has on this backend. */
export function workspacesOf({ backend = 'cpu', threads }: Target): WorkspaceBytes {
  switch (backend) {
    case 'cpu':
      return (kernel, parameters) => cpuWorkspaceBytes(kernel, parameters, threads)
    case 'cuda':
      return cudaWorkspaceBytes
    default:
      return backend satisfies never
  }
}
