// The hub's JSON for operators, and the requests that change something. docs/admin.md describes all of it.
import { Refused } from '../api';

export interface Session {
  access: 'full' | 'read' | 'none';
  with: 'bearer' | 'cookie' | 'listener' | 'loopback' | null;
  /** The hub has an ADMIN_TOKEN, so a login is possible. */
  login: boolean;
  hub: string;
}

export interface Condition {
  version: string;
  uptimeMs: number;
  connections: number;
  maxConnections: number;
  messages: number;
  cpuMs: number;
  memoryBytes: number;
  openFiles: number;
  clockAheadMs: number;
  waiting: number | null;
  contests: number | null;
  alarms: number | null;
}

export interface Hub {
  id: string;
  self: boolean;
  url: string | null;
  region: string;
  hops: number;
  rttMs: number | null;
  peers: number;
  draining: boolean;
  /** Null if the hub did not report it. */
  condition: Condition | null;
}

export interface MeshLink {
  a: string;
  b: string;
  rttMs: number | null;
}

export interface Topology {
  hub: string;
  hubs: Hub[];
  links: MeshLink[];
  notAnswered: string[];
}

export interface NetworkRow {
  dialect: string;
  network: string;
  peers: number;
}

interface Page {
  next: string | null;
  total: number;
}

export interface Networks extends Page {
  networks: NetworkRow[];
}

export interface PeerRow {
  id: string;
  hub: string;
  sinceMs: number | null;
  address: string | null;
  subject: string | null;
}

export interface Peers extends Page {
  dialect: string;
  network: string;
  peers: PeerRow[];
  notAnswered: string[];
}

export interface History {
  stepMs: number;
  hubs: string[];
  notAnswered: string[];
  t: number[];
  joins: number[];
  leaves: number[];
  signals: number[];
  failures: number[];
  refusals: Record<string, number[]>;
}

/** An id for which signals or joins wait at a hub. */
export interface AwaitedRow {
  dialect: string;
  network: string;
  id: string;
  hub: string;
  sinceMs: number;
  count: number;
}

/** `total` counts signals or joins, and `ids` the rows of all pages. */
interface Awaited extends Page {
  notAnswered: string[];
  ids: number;
}

export interface Waiting extends Awaited {
  hubs: { hub: string; waiting: number }[];
  waiting: AwaitedRow[];
}

export interface Contests extends Awaited {
  hubs: { hub: string; contests: number }[];
  contests: AwaitedRow[];
}

export const BAN_KINDS = ['id', 'subject', 'address', 'block'] as const;
export type BanKind = (typeof BAN_KINDS)[number];

export interface Ban {
  ban: string;
  kind: BanKind;
  value: string;
  dialect: string | null;
  network: string | null;
  reason: string | null;
  placedAt: number;
  until: number;
  placedBy: string;
}

export interface Bans extends Page {
  bans: Ban[];
  max: number;
}

export interface BanWish {
  kind: BanKind;
  value: string;
  dialect?: string;
  network?: string;
  reason?: string;
  seconds: number;
}

/** A peer in one of its networks. */
export interface Member {
  dialect: string;
  network: string;
  id: string;
}

const API = '/admin/api';
/** More than the two seconds that a hub waits for others. */
const ANSWERS_WITHIN_MS = 6_000;

async function ask<T>(method: string, path: string, body?: object): Promise<T> {
  // No form of another page can send this header. With a cookie, the hub makes changes only if the header is there.
  const headers: Record<string, string> = method === 'GET' ? {} : { 'X-Hubmesh-Admin': '1' };
  if (body) headers['Content-Type'] = 'application/json';
  const answer = await fetch(`${API}/${path}`, {
    method,
    headers,
    body: body && JSON.stringify(body),
    cache: 'no-store',
    credentials: 'same-origin',
    signal: AbortSignal.timeout(ANSWERS_WITHIN_MS),
  });
  const text = await answer.text();
  const value = parsed(text);
  if (answer.ok) return value as T;
  const why = typeof value === 'object' && value && 'error' in value ? String(value.error) : answer.statusText;
  throw new Refused(answer.status, why || `the hub answered ${answer.status}`);
}

function parsed(text: string): unknown {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null;
  }
}

export const get = <T>(path: string) => ask<T>('GET', path);
export const login = (token: string) => ask<unknown>('POST', 'login', { token });
export const logout = () => ask<unknown>('POST', 'logout');

export function place(wish: BanWish) {
  const { kind, value, ...rest } = wish;
  return ask<{ ban: Ban; closed: number }>('POST', 'bans', { [kind]: value, ...rest });
}

export const lift = (ban: string) => ask<unknown>('DELETE', `bans/${encodeURIComponent(ban)}`);

/** Removes a peer. The query names it, because a browser removes segments that are `.` or `..` from every path. */
export const remove = ({ dialect, network, id }: Member) => ask<unknown>('DELETE', `peers?${new URLSearchParams({ dialect, network, id })}`);

/** A path with these parameters. Parameters without a value are left out. */
export function query(path: string, parameters: Record<string, string | number | null | undefined>): string {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== '');
  return `${path}?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`;
}

export const EVENTS_URL = `${API}/events`;

/** The words for a request that failed. */
export function whyNot(error: unknown): string {
  if (error instanceof Refused) return error.message;
  return 'this hub does not answer';
}
