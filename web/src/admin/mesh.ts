// The mesh as it is now, and how it changed: rates out of counters, and hubs that were there a moment ago.
import type { Condition, Hub, MeshLink, Topology } from './api';

export interface HubNow extends Hub {
  /** Messages from peers in a second; null before two answers of the same run of the hub. */
  messagesPerS: number | null;
  /** Of one core. */
  cpu: number | null;
  /** When it went out of reach, if it did. */
  lostAt: number | null;
  /** When it rang an alarm last, if that is not long ago. */
  alarmedAt: number | null;
}

export interface Mesh {
  hub: string;
  hubs: HubNow[];
  links: MeshLink[];
  /** Changes with the hubs, their regions and the links, and with nothing else. */
  shape: string;
}

/** How long a hub that is lost is shown. */
const LOST_SHOWN_MS = 120_000;
/** How long an alarm stands out. */
const ALARM_SHOWN_MS = 120_000;
/** Counters that are closer to each other say little of a rate. */
const LEAST_STEP_MS = 900;

export const isLost = ({ lostAt }: HubNow) => lostAt !== null;

function rates(fresh: Condition | null, now: HubNow, before: HubNow | undefined): HubNow {
  const old = before?.condition;
  if (!fresh || !old || fresh.uptimeMs < old.uptimeMs) return now;
  const step = fresh.uptimeMs - old.uptimeMs;
  if (step < LEAST_STEP_MS) {
    // The older one stays, so that the next answer is far enough from it.
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

/** The mesh after an answer more. */
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
