// One PeerPigeonMesh in one page, for the stories to drive: starts it, remembers what it reported,
// answers questions about it. Uses the client's public events and methods; changes nothing in it.
'use strict';

// The client's own switch for automated runs: without it, it asks for the microphone on localhost.
window.DISABLE_LOCALHOST_MEDIA_REQUEST = true;

window.peer = (() => {
  let mesh;
  const heard = { discovered: [], disconnected: [], messages: [] };

  async function start(hub, options) {
    mesh = new PeerPigeonMesh(options);
    mesh.addEventListener('peerDiscovered', ({ peerId }) => heard.discovered.push(peerId));
    mesh.addEventListener('peerDisconnected', (event) => heard.disconnected.push(event));
    mesh.addEventListener('messageReceived', ({ from, content, direct }) => {
      heard.messages.push({ from, content, direct: direct === true });
    });
    await mesh.init();
    // Settles only when the socket opens; a refused one is retried by the client for ever.
    mesh.connect(hub).catch(() => {});
    return mesh.peerId;
  }

  function openChannels() {
    return mesh.getPeers()
      .filter(({ peerId }) => mesh.connectionManager.getPeer(peerId)?.dataChannel?.readyState === 'open')
      .map(({ peerId }) => peerId);
  }

  return {
    start,
    openChannels,
    isOnline: () => mesh.signalingClient.isConnected(),
    knows: (id) => mesh.peerDiscovery.hasPeer(id),
    hasDiscovered: (id) => heard.discovered.includes(id),
    discovered: () => heard.discovered,
    lost: (id) => heard.disconnected.some(({ peerId }) => peerId === id),
    hasHeard: (content) => heard.messages.some((message) => message.content === content),
    copiesOf: (content) => heard.messages.filter((message) => message.content === content),
    tell: (id, content) => mesh.sendDirectMessage(id, content),
    tellAll: (content) => mesh.sendMessage(content),
    leave: () => mesh.disconnect(),
    status: () => mesh.getPeers(),
  };
})();
