// A peer's WebSocket to this hub, in the native dialect: what comes is told as it is, typed as far as the demo reads it.

export interface Place {
  /** The id of the hub, where it has one. */
  hub: string | null;
  region: string;
}

export interface Signal {
  type: 'offer' | 'answer' | 'ice-candidate';
  from: string;
  data: unknown;
}

export interface Listener {
  connected(): void;
  discovered(peer: string, data: unknown): void;
  left(peer: string, reason: string): void;
  signal(signal: Signal): void;
  undelivered(peer: string, why: string): void;
  /** The socket is closed; `opened` tells whether it ever was open. */
  closed(opened: boolean, code: number, reason: string): void;
}

const SIGNALS = ['offer', 'answer', 'ice-candidate'];

export class Signaling {
  #socket: WebSocket;
  #opened = false;
  #over = false;

  constructor(
    readonly id: string,
    readonly network: string,
    token: string,
    listener: Listener,
  ) {
    const url = new URL('/ws', location.href);
    url.protocol = url.protocol.replace('http', 'ws');
    url.hash = '';
    url.searchParams.set('peerId', id);
    if (token) url.searchParams.set('token', token);
    this.#socket = new WebSocket(url);
    this.#socket.onmessage = ({ data }) => {
      if (!this.#over) this.#take(read(data), listener);
    };
    this.#socket.onclose = ({ code, reason }) => {
      if (!this.#over) listener.closed(this.#opened, code, reason);
    };
  }

  announce(data: unknown) {
    this.#say({ type: 'announce', networkName: this.network, data });
  }

  send(type: Signal['type'], targetPeerId: string, data: unknown) {
    this.#say({ type, networkName: this.network, targetPeerId, data });
  }

  /** Nothing is told any more after this. */
  close() {
    this.#say({ type: 'goodbye' });
    this.#over = true;
    this.#socket.close();
  }

  #say(message: object) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #take(message: Record<string, unknown>, listener: Listener) {
    const data = record(message.data);
    const from = String(message.fromPeerId);
    const type = String(message.type);
    if (type === 'connected') {
      this.#opened = true;
      listener.connected();
    } else if (type === 'peer-discovered') {
      listener.discovered(String(data.peerId), data);
    } else if (type === 'peer-disconnected') {
      listener.left(String(data.peerId), String(data.reason));
    } else if (type === 'error' && data.peerId) {
      listener.undelivered(String(data.peerId), String(message.error));
    } else if (SIGNALS.includes(type)) {
      listener.signal({ type: type as Signal['type'], from, data: message.data });
    }
  }
}

function read(text: unknown): Record<string, unknown> {
  try {
    return record(JSON.parse(String(text)));
  } catch {
    return {};
  }
}

/** What came as an object, whatever it is. */
export function record(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

/** A fresh id as peers of the native dialect have it. */
export function freshId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(20));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** The one id that a token is for, if it is a JWT that says so. Whether it is valid, the hub says. */
export function boundId(token: string): string | null {
  try {
    const claims = token.split('.')[1] ?? '';
    const text = atob(claims.replaceAll('-', '+').replaceAll('_', '/'));
    const id = record(JSON.parse(text)).peerId;
    return typeof id === 'string' ? id : null;
  } catch {
    return null;
  }
}
