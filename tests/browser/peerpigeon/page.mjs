// The parts of a page of this client: the files that the stage serves to it.

const bundle = new URL('dist/peerpigeon-browser.js', import.meta.resolve('peerpigeon'));

export const CLIENT = {
  files: {
    '/': [new URL('page/index.html', import.meta.url), 'text/html; charset=utf-8'],
    '/peer.js': [new URL('page/peer.js', import.meta.url), 'text/javascript; charset=utf-8'],
    '/peerpigeon.js': [bundle, 'text/javascript; charset=utf-8'],
  },
  permissions: ['microphone'],
  flags: [],
};
