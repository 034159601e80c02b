// What the hub says of itself in JSON, as far as the page shows it.

/** `/page.json`: the settings that the page needs. */
export interface About {
  version: string;
  /** The id of this hub; null where it is a lone server. */
  hub: string | null;
  isHub: boolean;
  region: string;
  needsToken: boolean;
  /** Whether `/stats` and `/hubstats` are for everybody. */
  showsMesh: boolean;
  demo: boolean;
  /** Whether `/ice-servers` answers. */
  iceServers: boolean;
  peerjs: { paths: string[]; defaultKey: boolean; rooms: boolean } | null;
}

/** `/health` */
export interface Health {
  status: string;
}

/** `/stats` */
export interface Stats {
  isRunning: boolean;
  isHub: boolean;
  hubPeerId: string | null;
  hubMeshNamespace: string;
  connections: number;
  maxConnections: number;
  peers: number;
  hubs: number;
  networks: number;
  uptime: number;
}

export interface OtherHub {
  peerId: string;
  url: string | null;
  region: string;
  direct: boolean;
  hops: number;
  rttMs: number | null;
  peers: number;
  draining: boolean;
}

export interface Bootstrap {
  uri: string;
  connected: boolean;
  problem: string | null;
}

/** `/hubstats` */
export interface HubStats {
  hubs: OtherHub[];
  bootstrapHubs: Bootstrap[];
}

const ANSWERS_WITHIN_MS = 5_000;

export class Refused extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

export async function get<T>(path: string, token = ''): Promise<T> {
  const headers: HeadersInit = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch(path, { headers, cache: 'no-store', signal: AbortSignal.timeout(ANSWERS_WITHIN_MS) });
  if (!answer.ok) {
    const body: unknown = await answer.json().catch(() => null);
    const why = typeof body === 'object' && body && 'error' in body ? String(body.error) : answer.statusText;
    throw new Refused(answer.status, why);
  }
  return answer.json() as Promise<T>;
}
