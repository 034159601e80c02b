// PeerJS clients in one page, for the stories to drive: starts them, remembers what they reported, answers questions
// about them. Uses the client's public events and methods; changes nothing in it.
'use strict';

window.peer = (() => {
  const RECONNECT_AFTER_MS = 500;

  // What is sent over a connection, by the kind of thing. The binary one is larger than a message of the client.
  const SAMPLES = {
    string: 'Grüße, こんにちは, 💥',
    object: { nested: [1, 2.5, 'three', null, true, { deep: '∞' }] },
    bytes: Uint8Array.from({ length: 100_000 }, (_, place) => (place * 31) % 251),
  };

  let self;
  const events = [];
  const links = new Map();
  const received = new Map();
  let mediaCall;
  let crowd = [];

  function options(url, wanted) {
    const { hostname, port, pathname } = new URL(url);
    return { host: hostname, port: Number(port), path: pathname, secure: false, config: { iceServers: [] }, ...wanted };
  }

  /** `reconnects`: the application calls `reconnect` whenever it is told that it is disconnected. */
  function start(url, { id, reconnects = false, ...wanted } = {}) {
    self = id ? new Peer(id, options(url, wanted)) : new Peer(options(url, wanted));
    self.on('open', () => events.push('open'));
    self.on('close', () => events.push('close'));
    self.on('error', ({ type, message }) => events.push(`error ${type}: ${message}`));
    self.on('disconnected', () => {
      events.push('disconnected');
      if (reconnects) setTimeout(() => self.destroyed || self.reconnect(), RECONNECT_AFTER_MS);
    });
    self.on('connection', keep);
    self.on('call', async (call) => {
      keepCall(call);
      call.answer(await camera());
    });
    return id;
  }

  function keep(link) {
    links.set(link.label, link);
    received.set(link.label, []);
    link.on('data', (data) => received.get(link.label).push(described(data)));
  }

  /** The same for what was sent and for what arrived, whatever form of it a serialization gives back. */
  function described(data) {
    if (!(data instanceof ArrayBuffer) && !ArrayBuffer.isView(data)) return JSON.stringify(data);
    const bytes = data instanceof ArrayBuffer ? new Uint8Array(data) : data;
    const sum = bytes.reduce((sum, byte, place) => (sum + byte * (place + 1)) % 1_000_000_007, 0);
    return `${bytes.length} bytes, sum ${sum}`;
  }

  const camera = () => navigator.mediaDevices.getUserMedia({ audio: true, video: true });

  function keepCall(call) {
    mediaCall = call;
    call.on('stream', (stream) => {
      const video = document.createElement('video');
      Object.assign(video, { srcObject: stream, autoplay: true, muted: true });
      document.body.append(video);
    });
    call.on('close', () => events.push('call closed'));
  }

  /** What came in of the other's picture and sound. */
  async function mediaReceived() {
    const stats = mediaCall?.peerConnection ? [...(await mediaCall.peerConnection.getStats()).values()] : [];
    const of = (kind) => stats.find((entry) => entry.type === 'inbound-rtp' && entry.kind === kind);
    return {
      framesDecoded: of('video')?.framesDecoded ?? 0,
      samples: of('audio')?.totalSamplesReceived ?? 0,
      shown: document.querySelector('video')?.getVideoPlaybackQuality().totalVideoFrames ?? 0,
    };
  }

  const opened = (thing) => new Promise((resolve, reject) => {
    thing.on('open', resolve);
    thing.on('error', reject);
  });

  /** Many clients in this page; resolves when all of them are connected to the server. */
  async function startCrowd(url, ids) {
    crowd = ids.map((id) => new Peer(id, options(url)));
    for (const member of crowd) member.on('connection', (link) => link.on('data', (data) => link.send(data)));
    await Promise.all(crowd.map(opened));
  }

  /** Connects to all these ids at once, its clients taking turns, and hears on each link its own words echoed. */
  async function crowdTalksTo(ids) {
    const echoes = ids.map(async (id, place) => {
      const member = crowd[place % crowd.length];
      const link = member.connect(id);
      await opened(link);
      const echo = new Promise((resolve) => link.on('data', resolve));
      link.send(`from ${member.id} to ${id}`);
      return (await echo) === `from ${member.id} to ${id}`;
    });
    return (await Promise.all(echoes)).filter(Boolean).length;
  }

  return {
    start,
    startCrowd,
    crowdTalksTo,
    mediaReceived,
    id: () => self.id,
    events: () => events,
    isOnline: () => self.open,
    connect: (id, label, details = {}) => {
      const link = self.connect(id, { label, ...details });
      if (link) keep(link);
    },
    isLinked: (label) => links.get(label)?.open === true,
    isUnlinked: (label) => links.get(label)?.open === false,
    about: (label) => {
      const { peer, metadata, serialization } = links.get(label);
      return { peer, metadata, serialization };
    },
    send: (label, kinds) => kinds.forEach((kind) => links.get(label).send(SAMPLES[kind])),
    samples: (kinds) => kinds.map((kind) => described(SAMPLES[kind])),
    received: (label) => received.get(label),
    unlink: (label) => links.get(label).close(),
    call: async (id) => keepCall(self.call(id, await camera())),
    hangUp: () => mediaCall.close(),
    leave: () => self.disconnect(),
    comeBack: () => self.reconnect(),
    destroy: () => self.destroy(),
    listAllPeers: () => new Promise((resolve) => self.listAllPeers(resolve)),
    askForPeers: () => self.listAllPeers(() => events.push('listed')),
    status: () => ({ open: self.open, events, links: [...links].map(([label, { open }]) => [label, open]) }),
  };
})();
