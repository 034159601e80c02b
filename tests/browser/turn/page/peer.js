// Two ends in one page, which meet through relays alone, by what the hub's /ice-servers gave.

let hub;

/** The servers that the hub names, those of one transport alone. */
async function servers(scheme, transport) {
  const answer = await fetch(`${hub}ice-servers?peerId=ada`);
  const { iceServers } = await answer.json();
  const wanted = (url) => url.startsWith(`${scheme}:`) && url.endsWith(`?transport=${transport}`);
  return iceServers
    .map((server) => ({ ...server, urls: server.urls.filter(wanted) }))
    .filter(({ urls }) => urls.length > 0);
}

function handOver(from, to) {
  from.onicecandidate = ({ candidate }) => candidate && to.addIceCandidate(candidate);
}

/** How the way of a connection looks that is in use, once the browser counts the pair as nominated: data may come before. */
async function selected(connection) {
  for (;;) {
    const stats = [...(await connection.getStats()).values()];
    const pair = stats.find(({ type, nominated, state }) => type === 'candidate-pair' && nominated && state === 'succeeded');
    const local = stats.find(({ id }) => id === pair?.localCandidateId);
    if (local) return { type: local.candidateType, protocol: local.relayProtocol };
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
}

window.peer = {
  status: () => [],
  async start(url) {
    hub = url;
    return 'ada';
  },

  /** What came back through a data channel, and how the way there looks; or what went wrong. */
  async relayed(scheme, transport, text) {
    const config = { iceServers: await servers(scheme, transport), iceTransportPolicy: 'relay' };
    if (config.iceServers.length === 0) return { error: 'the hub names no such server' };
    const [one, other] = [new RTCPeerConnection(config), new RTCPeerConnection(config)];
    const errors = [];
    one.onicecandidateerror = ({ errorCode, errorText, url }) => errors.push(`${errorCode} ${errorText} ${url}`);
    handOver(one, other);
    handOver(other, one);
    other.ondatachannel = ({ channel }) => { channel.onmessage = ({ data }) => channel.send(data); };
    const channel = one.createDataChannel('relayed');
    const back = new Promise((resolve) => { channel.onmessage = ({ data }) => resolve(data); });
    channel.onopen = () => channel.send(text);
    await one.setLocalDescription();
    await other.setRemoteDescription(one.localDescription);
    await other.setLocalDescription();
    await one.setRemoteDescription(other.localDescription);
    const late = new Promise((resolve) => { setTimeout(resolve, 20_000, undefined); });
    const heard = await Promise.race([back, late]);
    const way = heard && await selected(one);
    one.close();
    other.close();
    return heard === undefined ? { error: errors.join(', ') || 'no channel' } : { heard, way };
  },
};
