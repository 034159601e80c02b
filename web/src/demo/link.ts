// One WebRTC connection with one data channel, to one peer: the side with the smaller id offers.
import { pathOf, whyNoPath, type Kind } from './path';
import { record, type Signal } from './signaling';

export interface LinkListener {
  send(type: Signal['type'], data: unknown): void;
  opened(): void;
  text(text: string): void;
  measured(roundTripMs: number, path: Kind | null): void;
  /** It is over: `why` in words if it never opened. */
  ended(why: string | null): void;
}

const OPENS_WITHIN_MS = 30_000;
const PING_EVERY_MS = 1_000;
export const LONGEST_TEXT = 2_000;

export class Link {
  #connection: RTCPeerConnection;
  #channel: RTCDataChannel;
  #early: RTCIceCandidateInit[] = [];
  #serverErrors: string[] = [];
  #heard = false;
  #relayed = false;
  #deadline: number;
  #pings: number | undefined;
  #over = false;
  isOpen = false;

  constructor(
    private readonly offers: boolean,
    private readonly servers: RTCIceServer[],
    private readonly listener: LinkListener,
  ) {
    this.#connection = new RTCPeerConnection({ iceServers: servers });
    // Agreed on beforehand, so that neither side waits for the other to open it.
    this.#channel = this.#connection.createDataChannel('demo', { negotiated: true, id: 0 });
    this.#deadline = setTimeout(() => this.giveUp(), OPENS_WITHIN_MS);
    this.#watch();
    if (offers) void this.#offer();
  }

  #watch() {
    const connection = this.#connection;
    connection.onicecandidate = ({ candidate }) => {
      if (!candidate) return;
      this.#relayed ||= candidate.type === 'relay';
      this.listener.send('ice-candidate', candidate.toJSON());
    };
    connection.onicecandidateerror = ({ url, errorCode, errorText }) => {
      const error = `${url}: ${errorText || 'no answer'} (${errorCode})`;
      if (this.#serverErrors.length < 4) this.#serverErrors.push(error);
    };
    connection.onconnectionstatechange = () => {
      if (connection.connectionState === 'failed') this.giveUp();
    };
    this.#channel.onopen = () => this.#open();
    this.#channel.onclose = () => this.#end(null);
    this.#channel.onmessage = ({ data }) => this.#take(data);
  }

  async #offer() {
    try {
      await this.#connection.setLocalDescription();
      this.listener.send('offer', this.#connection.localDescription);
    } catch (error) {
      this.#end(`This browser could not make an offer: ${String(error)}`);
    }
  }

  /** What the other side says through the mesh. It may be nonsense: then there is no connection, and that is all. */
  async take({ type, data }: Signal) {
    if (this.#over) return;
    try {
      if (type === 'ice-candidate') await this.#candidate(record(data));
      else if ((type === 'offer') !== this.offers) await this.#describe(record(data) as unknown as RTCSessionDescriptionInit);
    } catch (error) {
      if (!this.isOpen) this.#end(`The other side sent what this browser does not take: ${String(error)}`);
    }
  }

  async #describe(description: RTCSessionDescriptionInit) {
    this.#heard ||= String(description.sdp).includes('a=candidate:');
    await this.#connection.setRemoteDescription(description);
    for (const candidate of this.#early.splice(0)) await this.#connection.addIceCandidate(candidate);
    if (description.type !== 'offer') return;
    await this.#connection.setLocalDescription();
    this.listener.send('answer', this.#connection.localDescription);
  }

  async #candidate(candidate: RTCIceCandidateInit) {
    this.#heard ||= Boolean(candidate.candidate);
    if (this.#connection.remoteDescription) await this.#connection.addIceCandidate(candidate);
    else if (this.#early.length < 100) this.#early.push(candidate);
  }

  #open() {
    this.isOpen = true;
    clearTimeout(this.#deadline);
    this.listener.opened();
    this.#ping();
    this.#pings = setInterval(() => this.#ping(), PING_EVERY_MS);
  }

  #ping() {
    this.#say({ ping: performance.now() });
  }

  say(text: string) {
    this.#say({ text: text.slice(0, LONGEST_TEXT) });
  }

  #say(message: object) {
    if (this.#channel.readyState === 'open') this.#channel.send(JSON.stringify(message));
  }

  #take(data: unknown) {
    let message: Record<string, unknown>;
    try {
      message = record(JSON.parse(String(data)));
    } catch {
      return;
    }
    if (typeof message.text === 'string') this.listener.text(message.text.slice(0, LONGEST_TEXT));
    if (typeof message.ping === 'number') this.#say({ pong: message.ping });
    if (typeof message.pong === 'number') void this.#measure(performance.now() - message.pong);
  }

  async #measure(roundTripMs: number) {
    const path = await pathOf(this.#connection);
    if (!this.#over) this.listener.measured(roundTripMs, path);
  }

  /** There is no path, or none any more. */
  giveUp() {
    const turn = this.servers.flatMap(({ urls }) => urls).some((url) => url.startsWith('turn'));
    const found = { turn, relayed: this.#relayed, heard: this.#heard, serverErrors: this.#serverErrors };
    this.#end(this.isOpen ? null : whyNoPath(found));
  }

  #end(why: string | null) {
    if (this.#over) return;
    this.close();
    this.listener.ended(why);
  }

  /** Nothing is told any more after this. */
  close() {
    this.#over = true;
    this.isOpen = false;
    clearTimeout(this.#deadline);
    clearInterval(this.#pings);
    this.#channel.close();
    this.#connection.close();
  }
}
