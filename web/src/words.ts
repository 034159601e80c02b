// Numbers and ids as people read them.

export function count(number: number, one: string, many = `${one}s`): string {
  return `${number.toLocaleString('en')} ${number === 1 ? one : many}`;
}

export function span(ms: number): string {
  const seconds = Math.floor(ms / 1_000);
  const [days, hours, minutes] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3_600) % 24, Math.floor(seconds / 60) % 60];
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}

export function millis(ms: number): string {
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}

/** Enough of an id to tell hubs apart. */
export function short(id: string): string {
  return id.slice(0, 8);
}

/** A hub by its id, and its region where it has one. */
export function hubName(id: string | null, region: string): string {
  const name = id ? `hub ${short(id)}` : 'a lone server';
  return region ? `${name} (${region})` : name;
}

/** The web address of a hub that tells where it is reached, as far as a browser may follow it. */
export function webOrigin(url: string | null): string | null {
  // Older browsers have no URL.canParse.
  try {
    const { protocol, host } = new URL(url ?? '');
    const scheme = { 'ws:': 'http', 'wss:': 'https' }[protocol];
    return scheme ? `${scheme}://${host}` : null;
  } catch {
    return null;
  }
}

export function bytes(count: number): string {
  const steps = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const step = Math.min(steps.length - 1, Math.floor(Math.log2(Math.max(1, count)) / 10));
  const value = count / 2 ** (10 * step);
  return `${value < 10 && step ? value.toFixed(1) : Math.round(value)} ${steps[step]}`;
}

/** How often in a second. */
export function rate(perSecond: number): string {
  return perSecond && perSecond < 10 ? perSecond.toFixed(1) : Math.round(perSecond).toLocaleString('en');
}

export function percent(part: number): string {
  return `${Math.round(100 * part)} %`;
}

/** A time of day, and the date as well where that is another than today. */
export function clock(ms: number, now = new Date()): string {
  const at = new Date(ms);
  const time = at.toLocaleTimeString('en-GB');
  return at.toDateString() === now.toDateString() ? time : `${at.toLocaleDateString('en-CA')} ${time}`;
}

/** Text of others in a line of ours: what cannot be seen, or would turn the line round, is spelled out. */
export function plain(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (one) => `\\u{${one.codePointAt(0)!.toString(16)}}`);
}
