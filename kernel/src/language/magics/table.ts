/**
 * The words that IPython users type, and what each means here. `%lsmagic` and `%word?` print this table; `expand.ts` reads it to know how the
 * rest of a line is meant, `run.ts` does what it says.
 */

/** How the rest of the line is read: text with `{expression}` and `$name` filled in, or TypeScript; or the supervisor answers. */
type LineKind = 'text' | 'time' | 'timeit' | 'supervisor'
/** How the lines below a `%%word` are read. */
type BodyKind = 'text' | 'time' | 'timeit'

export interface Word {
  /** How it is written; without a form of its own, nothing but an error stands behind it. */
  readonly usage?: string
  /** A sentence: what it does, or what to use instead. */
  readonly does: string
  readonly line?: LineKind
  readonly body?: BodyKind
}

const shell = (program: string) =>
  ({ usage: `%${program} ...`, does: `The same as \`!${program} ...\`, but the cell fails when it fails.`, line: 'text' }) as const
const script = (program: string) => ({ usage: `%%${program}`, does: `Gives the cell to ${program} as a script.`, body: 'text' }) as const
const show = (name: string, what: string) => ({ usage: `%%${name}`, does: `Shows the cell as ${what}.`, body: 'text' }) as const
const instead = (does: string) => ({ does }) as const

const EXTENSIONS = instead('TypeScript has no IPython extensions; `import` a package.')
const DEBUGGER = instead("There is no debugger; print with `console.log`, or open Node's: `(await import('node:inspector')).open()`.")
const ENVIRONMENT = instead("This kernel's packages are npm's: `%npm install NAME`.")
const SHUT_DOWN = instead("The kernel is shut down in the front end: JupyterLab's menu Kernel has it, a console takes Ctrl-D.")
const PROFILER = instead("There is no profiler; time a line with `%time` or `%timeit`, or profile with `Session` of 'node:inspector/promises'.")

const TABLE = {
  time: { usage: '%time STATEMENT, %%time', does: 'Runs a statement, or the cell, and prints what time it took.', line: 'time', body: 'time' },
  timeit: {
    usage: '%timeit [-n LOOPS] [-r REPEATS] STATEMENT, %%timeit [SETUP]',
    does: 'Runs a statement, or the cell, many times and prints mean and deviation.',
    line: 'timeit',
    body: 'timeit',
  },
  cd: { usage: '%cd [FOLDER | -]', does: 'Changes the working folder. Imports still resolve beside the notebook.', line: 'text' },
  pwd: { usage: '%pwd', does: 'Gives the working folder.', line: 'text' },
  env: { usage: '%env [NAME[=VALUE]]', does: 'Gives environment variables, or sets one.', line: 'text' },
  set_env: { usage: '%set_env NAME=VALUE', does: 'Sets an environment variable.', line: 'text' },
  who: { usage: '%who', does: "Prints the notebook's names.", line: 'text' },
  who_ls: { usage: '%who_ls', does: "Gives the notebook's names.", line: 'text' },
  whos: { usage: '%whos', does: "Prints the notebook's names with type and value.", line: 'text' },
  history: { usage: '%history [-n] [FROM[-TO]]', does: 'Prints cells that were run, with -n their numbers.', line: 'text' },
  hist: { usage: '%hist', does: 'The same as `%history`.', line: 'text' },
  reset: { usage: '%reset [-f] [in] [out]', does: 'Forgets all names, `In` and `Out`; or only what is named. Without -f it asks first.', line: 'text' },
  xdel: { usage: '%xdel NAME', does: 'Forgets one name, also where `_` and `Out` hold its value.', line: 'text' },
  load: { usage: '%load FILE', does: 'Puts the text of a file into the cell.', line: 'text' },
  run: {
    usage: '%run FILE [ARGUMENTS]',
    does: 'Runs a .ts or .js file, whose exports become names of the notebook; or the cells of a notebook of TypeScript.',
    line: 'text',
  },
  npm: { usage: '%npm install NAME', does: 'Runs npm for the notebook: in the nearest folder upwards with a package.json.', line: 'text' },
  lsmagic: { usage: '%lsmagic', does: 'Prints this list.', line: 'text' },
  types: { usage: '%types off|report|strict', does: 'Type errors are not looked for, are shown, or keep a cell from running.', line: 'supervisor' },
  pinfo: { usage: '%pinfo NAME', does: 'The same as `NAME?`: its type and documentation.', line: 'supervisor' },
  pinfo2: { usage: '%pinfo2 NAME', does: 'The same as `NAME??`: its source too.', line: 'supervisor' },
  quickref: { usage: '%quickref', does: 'The same as `?`: how this kernel is used.', line: 'supervisor' },

  bash: script('bash'),
  sh: { ...script('sh'), usage: '%%sh' },
  zsh: script('zsh'),
  python: { ...script('python3'), usage: '%%python' },
  python3: script('python3'),
  perl: script('perl'),
  ruby: script('ruby'),
  script: { usage: '%%script PROGRAM', does: 'Gives the cell to a program as its input.', body: 'text' },
  writefile: { usage: '%%writefile [-a] FILE', does: 'Writes the cell to a file, with -a at its end.', body: 'text' },
  file: { usage: '%%file FILE', does: 'The same as `%%writefile`.', body: 'text' },
  html: show('html', 'HTML'),
  HTML: show('HTML', 'HTML'),
  javascript: {
    usage: '%%javascript, %%js',
    does: "Runs the cell in the browser, as far as the front end lets it. The kernel's own language needs no magic.",
    body: 'text',
  },
  js: { usage: '%%js', does: 'The same as `%%javascript`.', body: 'text' },
  latex: show('latex', 'LaTeX'),
  markdown: show('markdown', 'Markdown'),
  svg: show('svg', 'SVG'),
  SVG: show('SVG', 'SVG'),

  ls: shell('ls'),
  ll: { ...shell('ls -l'), usage: '%ll ...' },
  cat: shell('cat'),
  cp: shell('cp'),
  mkdir: shell('mkdir'),
  mv: shell('mv'),
  rm: shell('rm'),
  rmdir: shell('rmdir'),
  sx: { usage: '%sx COMMAND', does: 'The same as `!!COMMAND`: gives the lines it prints.', line: 'text' },
  system: { usage: '%system COMMAND', does: 'The same as `%sx`.', line: 'text' },

  alias: instead('Write a function: `const ll = () => sh("ls -l")`.'),
  autoawait: instead('Cells may always `await`; leave this line out.'),
  autocall: instead('TypeScript calls functions with parentheses.'),
  automagic: instead('Magics keep their %, so that none is taken for a name of TypeScript.'),
  autoreload: instead('Local .ts files are imported anew whenever they were edited; leave this line out and run the `import` again.'),
  bookmark: instead('Keep the folder in a variable: `process.chdir(data)`.'),
  capture: instead('Take the lines of a command with `const lines = !command`, or end the cell with `display.clear()`.'),
  colors: instead('Colours are those of the front end.'),
  conda: ENVIRONMENT,
  config: instead('This kernel is set up by its environment variables and by `%types`.'),
  connect_info: instead('`process.argv` of the kernel names its connection file; see `jupyter --runtime-dir`.'),
  debug: DEBUGGER,
  dhist: instead('`%cd -` goes back to the last folder.'),
  edit: instead('Edit the file in JupyterLab and `import` it: it is loaded anew after every edit.'),
  exit: SHUT_DOWN,
  gui: instead('The event loop of Node always runs; leave this line out.'),
  help: instead('Write `?`, or `NAME?`.'),
  install: ENVIRONMENT,
  load_ext: EXTENSIONS,
  unload_ext: EXTENSIONS,
  reload_ext: EXTENSIONS,
  logstart: instead('All cells are kept: `%history`.'),
  logstop: instead('All cells are kept: `%history`.'),
  macro: instead('Write a function.'),
  mamba: ENVIRONMENT,
  matplotlib: instead('Figures need no setting: a value with `toPng`, `toHtml` or a MIME bundle is drawn when it is the last of a cell or given to `display`.'),
  memit: instead('`process.memoryUsage()` gives the bytes of the process.'),
  mprun: instead('`process.memoryUsage()` gives the bytes of the process.'),
  notebook: instead('Save the notebook with the front end.'),
  page: instead('The last value of a cell is shown whole: write its name, or `NAME?`.'),
  pdb: DEBUGGER,
  pdef: instead('Write `NAME?`.'),
  pdoc: instead('Write `NAME?`.'),
  pfile: instead('Write `NAME??`.'),
  pip: ENVIRONMENT,
  popd: instead('`%cd -` goes back to the last folder.'),
  precision: instead('Write `value.toFixed(3)`.'),
  prun: PROFILER,
  lprun: PROFILER,
  psearch: instead('Write the beginning of a name and press Tab.'),
  psource: instead('Write `NAME??`.'),
  pushd: instead('Use `%cd FOLDER`; `%cd -` goes back.'),
  pycat: instead('Use `%cat FILE`.'),
  pylab: instead('Import what you need: `import * as Plot from "@observablehq/plot"`.'),
  quit: SHUT_DOWN,
  recall: instead('`In[3]` is the text of cell 3.'),
  rerun: instead('Run the cell again in the front end.'),
  reset_selective: instead('`%xdel NAME` forgets one name, `%reset` all.'),
  save: instead('`%%writefile FILE` at the head of a cell writes it to a file.'),
  sql: instead('Use a client from npm: `%npm install better-sqlite3`, for example, and `import` it.'),
  store: instead('Write a file: `await writeFile("x.json", JSON.stringify(x))` of \'node:fs/promises\'.'),
  tb: instead('Errors show the frames of your code below them, and what caused them.'),
  ts: instead('Cells are TypeScript; leave this line out.'),
  typescript: instead('Cells are TypeScript; leave this line out.'),
  uv: ENVIRONMENT,
  xmode: instead('Errors show the frames of your code; those inside Node and this kernel are left out. `error.stack` of a caught error has all.'),
} as const satisfies Record<string, Word>

type Table = typeof TABLE
/** Words that `run.ts` has to know, as a line or with lines below. */
export type LineWord = { [Name in keyof Table]: Table[Name] extends { readonly line: 'text' } ? Name : never }[keyof Table]
export type BodyWord = { [Name in keyof Table]: Table[Name] extends { readonly body: 'text' } ? Name : never }[keyof Table]

export const WORDS: ReadonlyMap<string, Word> = new Map(Object.entries(TABLE))
