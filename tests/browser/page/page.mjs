// The hub serves the page itself, so the stage serves no files.

export const CLIENT = { files: {}, permissions: [], flags: [] };
