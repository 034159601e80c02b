// Loads one example as an application's page loads its bundle, and watches what the browser is asked for: the examples
// give nothing to look at themselves.
'use strict';

// The client's own switch for automated runs: without it, it asks for the microphone on localhost.
window.DISABLE_LOCALHOST_MEDIA_REQUEST = true;

window.peer = (() => {
  const connections = [];
  const said = [];
  let allowed = {};

  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(config, ...details) {
      super({ ...config, ...allowed }, ...details);
      connections.push(this);
    }
  };
  const log = console.log;
  console.log = (...words) => {
    said.push(words.join(' '));
    log(...words);
  };

  return {
    start: async (_hub, { example, relayed }) => {
      if (relayed) allowed = { iceTransportPolicy: 'relay' };
      await import(`/${example}.js`);
    },
    isConnected: () => connections.some(({ connectionState }) => connectionState === 'connected'),
    hasSaid: (line) => said.includes(line),
    status: () => connections.map(({ connectionState }) => connectionState),
  };
})();
