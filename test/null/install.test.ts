import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, isAbsolute, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { main } from '../../kernel/src/cli/main.js'
import { install, node, prefixDataFolder, userDataFolder } from '../../kernel/src/install.js'

const json = (...path: string[]) => JSON.parse(readFileSync(join(...path), 'utf8'))

describe('install', () => {
  let folder: string
  let built: { entry: string; extension: string }

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'fpdt-install-'))
    built = { entry: join(folder, 'kernel/main.js'), extension: join(folder, 'built') }
    mkdirSync(join(folder, 'kernel'))
    mkdirSync(join(built.extension, 'static'), { recursive: true })
    writeFileSync(built.entry, 'console.log(process.argv[2])')
    writeFileSync(join(built.extension, 'package.json'), '{ "name": "@fpdt/labextension" }')
    writeFileSync(join(built.extension, 'static/remoteEntry.1.js'), '')
    writeFileSync(join(folder, 'install.json'), '{ "packageManager": "npm" }')
  })
  afterEach(() => {
    rmSync(folder, { recursive: true, force: true })
  })

  it('writes a kernelspec whose argv starts the kernel from any folder', () => {
    const { kernelspec } = install(prefixDataFolder(join(folder, 'prefix')), built)
    expect(kernelspec).toBe(join(folder, 'prefix/share/jupyter/kernels/fpdt'))
    const spec = json(kernelspec, 'kernel.json')
    expect(spec).toMatchObject({ display_name: 'TypeScript (FPDT)', language: 'typescript', interrupt_mode: 'message' })
    const [node, ...args] = spec.argv as [string, ...string[]]
    expect([node, args[0]].every((path) => isAbsolute(path as string))).toBe(true)
    const said = spawnSync(
      node,
      args.map((arg) => arg.replace('{connection_file}', '/run/c.json')),
      { cwd: tmpdir(), encoding: 'utf8' },
    )
    expect(said.stdout).toBe('/run/c.json\n')
  })

  it('names Node as PATH does when that is the same program: a package manager moves the real one with every version', () => {
    const [cellar, link, other, shell] = ['Cellar/node/24.1.0/bin', 'bin', 'other', 'fnm_multishells/7/bin'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
      string,
    ]
    for (const path of [cellar, link, other, shell]) mkdirSync(path, { recursive: true })
    const real = join(cellar, 'node')
    for (const path of [real, join(other, 'node')]) writeFileSync(path, '')
    for (const path of [link, shell]) symlinkSync(real, join(path, 'node'))
    const named = (...path: string[]) => node({ PATH: path.join(delimiter) }, real)
    expect(named('/nowhere', link, other)).toBe(join(link, 'node'))
    for (const path of [[], ['/nowhere'], ['bin'], [other, link], [shell]]) expect(named(...path)).toBe(real)
  })

  it('ships the logos that Jupyter looks for, of the size their names say', () => {
    const { kernelspec } = install(folder, built)
    for (const size of [32, 64]) {
      const header = readFileSync(join(kernelspec, `logo-${size}x${size}.png`)).subarray(0, 24)
      expect(header.subarray(1, 4).toString()).toBe('PNG')
      expect([header.readUInt32BE(16), header.readUInt32BE(20)]).toEqual([size, size])
    }
    expect(readFileSync(join(kernelspec, 'logo-svg.svg'), 'utf8')).toContain('<svg')
  })

  it('replaces an earlier extension as a whole: no file of the old bundle stays', () => {
    const { extension } = install(folder, built)
    rmSync(join(built.extension, 'static/remoteEntry.1.js'))
    writeFileSync(join(built.extension, 'static/remoteEntry.2.js'), '')
    install(folder, built)
    expect(readdirSync(join(extension, 'static'))).toEqual(['remoteEntry.2.js'])
    expect(json(extension, 'install.json').packageManager).toBe('npm')
    expect(readdirSync(join(folder, 'labextensions/@fpdt'))).toEqual(['labextension'])
  })

  it('refuses before it writes when the extension is not built', () => {
    rmSync(join(built.extension, 'package.json'))
    expect(() => install(join(folder, 'data'), built)).toThrow(/built\/package\.json is not there.*npm run build/)
    expect(existsSync(join(folder, 'data'))).toBe(false)
  })

  it('names the folder it cannot write', () => {
    writeFileSync(join(folder, 'file'), '')
    expect(() => install(join(folder, 'file'), built)).toThrow(/cannot write .*file\/kernels\/fpdt: .*--prefix/)
  })

  it("finds the user's data folder as jupyter_core does", () => {
    expect(userDataFolder({ JUPYTER_DATA_DIR: '/a', XDG_DATA_HOME: '/b' })).toBe('/a')
    expect(userDataFolder({ XDG_DATA_HOME: '/b' })).toBe('/b/jupyter')
    expect(userDataFolder({})).toMatch(/\/\.local\/share\/jupyter$/)
  })
})

describe('fpdt install', () => {
  afterEach(() => {
    vi.restoreAllMocks()
  })

  it.each([[['install']], [['install', '--user', '--prefix', '/x']]])('%j: wants exactly one place', async (args) => {
    const error = vi.spyOn(console, 'error').mockImplementation(() => {})
    expect(await main(args)).toBe(2)
    expect(error.mock.calls.join()).toMatch(/either --user or --prefix DIR/)
  })

  it.each([
    [['install', '--prefx', '/x'], /--prefx/],
    [['instal'], /no command instal; the nearest is install/],
  ])('%j: exit code 2, naming the word', async (args, message) => {
    const error = vi.spyOn(console, 'error').mockImplementation(() => {})
    expect(await main(args)).toBe(2)
    expect(error.mock.calls.join()).toMatch(message)
  })
})
