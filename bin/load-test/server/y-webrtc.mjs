// y-webrtc's own server on a free port of loopback, to be measured: says its address on standard output once it listens.
//
// `load-test table` runs this text in the folder whose node_modules holds `y-webrtc`. The package's server takes a port
// from PORT, listens on all addresses, and does not say which port the system chose: so its one call of `listen` is
// replaced. Everything else is as it is by default.
import http from 'node:http';

const { listen } = http.Server.prototype;
http.Server.prototype.listen = function listenOnLoopback() {
  return listen.call(this, 0, '127.0.0.1', () => {
    const { address, port } = this.address();
    console.log(`server on ${address}:${port}`);
  });
};
await import(new URL('node_modules/y-webrtc/bin/server.js', `file://${process.cwd()}/`));
