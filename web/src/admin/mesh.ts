// The present state of the mesh. Computes rates from counters, and remembers hubs that were lost a short time ago.
import type { Condition, Hub, MeshLink, Topology } from './api';

export interface HubNow extends Hub {
  /** Messages from peers per second. Null until there are two answers of one incarnation of the hub. */
  messagesPerS: number | null;
  /** The part of one CPU core that the hub uses. */
  cpu: number | null;
  /** When the hub went out of reach. Null while it is in reach. */
  lostAt: number | null;
  /** When the hub had its last alarm. Null if that is longer ago than ALARM_SHOWN_MS. */
  alarmedAt: number | null;
}

export interface Mesh {
  hub: string;
  hubs: HubNow[];
  links: MeshLink[];
  /** A text that changes when hubs, their regions or links change, and at no other time. */
  shape: string;
}

/** How long a lost hub is shown. */
const LOST_SHOWN_MS = 120_000;
/** How long an alarm is shown in red. */
const ALARM_SHOWN_MS = 120_000;
/** The shortest time between two answers from which rates are computed. */
const LEAST_STEP_MS = 900;

export const isLost = ({ lostAt }: HubNow) => lostAt !== null;

function rates(fresh: Condition | null, now: HubNow, before: HubNow | undefined): HubNow {
  const old = before?.condition;
  if (!fresh || !old || fresh.uptimeMs < old.uptimeMs) return now;
  const step = fresh.uptimeMs - old.uptimeMs;
  if (step < LEAST_STEP_MS) {
    // The older counters stay, so that the next answer is long enough after them.
    const condition = { ...fresh, uptimeMs: old.uptimeMs, messages: old.messages, cpuMs: old.cpuMs };
    return { ...now, condition, messagesPerS: before.messagesPerS, cpu: before.cpu };
  }
  return {
    ...now,
    messagesPerS: Math.max(0, (1_000 * (fresh.messages - old.messages)) / step),
    cpu: Math.max(0, (fresh.cpuMs - old.cpuMs) / step),
  };
}

function alarmedAt(fresh: Condition | null, before: HubNow | undefined, now: number): number | null {
  if (before && fresh && (fresh.alarms ?? 0) > (before.condition?.alarms ?? 0)) return now;
  const last = before?.alarmedAt ?? null;
  return last !== null && now - last < ALARM_SHOWN_MS ? last : null;
}

/** The state after one more answer. */
export function follow(before: Mesh | null, { hub, hubs, links }: Topology, now: number): Mesh {
  const old = new Map(before?.hubs.map((one) => [one.id, one]));
  const fresh = hubs.map((one): HubNow => {
    const last = old.get(one.id);
    const plain = { ...one, messagesPerS: null, cpu: null, lostAt: null, alarmedAt: alarmedAt(one.condition, last, now) };
    return rates(one.condition, plain, last);
  });
  const here = new Set(hubs.map(({ id }) => id));
  const lost = (before?.hubs ?? [])
    .filter(({ id, draining }) => !here.has(id) && !draining)
    .map((one): HubNow => ({ ...one, lostAt: one.lostAt ?? now, messagesPerS: null, cpu: null }))
    .filter(({ lostAt }) => now - lostAt! < LOST_SHOWN_MS);
  const all = [...fresh, ...lost].sort((one, other) => one.region.localeCompare(other.region) || one.id.localeCompare(other.id));
  const ends = links.map(({ a, b }) => `${a} ${b}`).sort();
  return { hub, hubs: all, links, shape: JSON.stringify([all.map(({ id, region, lostAt }) => [id, region, lostAt !== null]), ends]) };
}

export interface Totals {
  hubs: number;
  lost: number;
  draining: number;
  silent: number;
  peers: number;
  messagesPerS: number;
  waiting: number;
  contests: number;
}

export function totals({ hubs }: Mesh): Totals {
  const there = hubs.filter((hub) => !isLost(hub));
  const sum = (of: (hub: HubNow) => number | null | undefined) => there.reduce((all, hub) => all + (of(hub) ?? 0), 0);
  return {
    hubs: there.length,
    lost: hubs.length - there.length,
    draining: there.filter(({ draining }) => draining).length,
    silent: there.filter(({ condition }) => !condition).length,
    peers: sum(({ peers }) => peers),
    messagesPerS: sum(({ messagesPerS }) => messagesPerS),
    waiting: sum(({ condition }) => condition?.waiting),
    contests: sum(({ condition }) => condition?.contests),
  };
}
