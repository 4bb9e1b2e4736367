/** One AdamW step (arXiv 1711.05101) of one parameter, in f64. */
export interface AdamW {
  readonly beta1: number
  readonly beta2: number
  readonly eps: number
  readonly decay: number
  readonly rate: number
  /** t of the paper, from 1. */
  readonly time: number
}
export interface State {
  readonly master: number
  readonly m: number
  readonly v: number
}

export function adamW({ beta1, beta2, eps, decay, rate, time }: AdamW, { master, m, v }: State, gradient: number): State {
  const nextM = beta1 * m + (1 - beta1) * gradient
  const nextV = beta2 * v + (1 - beta2) * gradient ** 2
  const direction = nextM / (1 - beta1 ** time) / (Math.sqrt(nextV / (1 - beta2 ** time)) + eps)
  return { master: master - rate * (direction + decay * master), m: nextM, v: nextV }
}
