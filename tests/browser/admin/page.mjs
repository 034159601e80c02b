// The page is the hub's own: nothing is served beside it.

export const CLIENT = { files: {}, permissions: [], flags: [] };
