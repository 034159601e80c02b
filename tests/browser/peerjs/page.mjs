// The parts of a page of this client: the files that the stage serves to it, and a camera and a microphone.

const bundle = new URL('peerjs.min.js', import.meta.resolve('peerjs'));

export const CLIENT = {
  files: {
    '/': [new URL('page/index.html', import.meta.url), 'text/html; charset=utf-8'],
    '/peer.js': [new URL('page/peer.js', import.meta.url), 'text/javascript; charset=utf-8'],
    '/peerjs.js': [bundle, 'text/javascript; charset=utf-8'],
  },
  permissions: ['camera', 'microphone'],
  flags: ['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream'],
};
