/** Written out, and checked by its type: an import of the value would load all of `fpdt/trace` with every page. */
export const RUN_MIME: typeof import('fpdt/trace').RUN_MIME = 'application/vnd.fpdt.run.v1+json'
