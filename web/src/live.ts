// How the hub is, asked again every second while somebody can see the page.
import { useEffect, useState } from 'preact/hooks';

import { get, Refused, type About, type Health, type HubStats, type Stats } from './api';

const EVERY_MS = 1_000;

export interface Live {
  about?: About;
  /** Whether it lets peers in. */
  isRunning?: boolean;
  /** Only of a hub that shows its mesh to everybody. */
  stats?: Stats;
  mesh?: HubStats;
  /** Whether the last answer came. What it does not show is what was known before. */
  answers: boolean;
}

export function useLive(): Live {
  const [live, setLive] = useState<Live>({ answers: true });
  useEffect(() => watch((news) => setLive((known) => ({ ...known, ...news }))), []);
  return live;
}

async function everything() {
  const [stats, mesh] = await Promise.all([get<Stats>('/stats'), get<HubStats>('/hubstats')]);
  return { stats, mesh, isRunning: stats.isRunning };
}

/** Whether the hub lets peers in; 503 is an answer as well. */
export async function isWell(): Promise<boolean> {
  try {
    return (await get<Health>('/health')).status === 'healthy';
  } catch (why) {
    if (why instanceof Refused && why.status === 503) return false;
    throw why;
  }
}

/** Calls `tell` with what is new until the function that it gives back is called. */
function watch(tell: (news: Partial<Live>) => void): () => void {
  let timer: number | undefined;
  let over = false;
  let asking = false;
  let about: About | undefined;

  const ask = async () => {
    if (asking) return;
    asking = true;
    try {
      about ??= await get<About>('/page.json');
      const news = about.showsMesh ? await everything() : { isRunning: await isWell(), stats: undefined, mesh: undefined };
      if (!over) tell({ about, answers: true, ...news });
    } catch {
      // It may come back with other settings.
      about = undefined;
      if (!over) tell({ answers: false });
    }
    asking = false;
  };
  const turn = async () => {
    clearTimeout(timer);
    if (over || document.hidden) return;
    await ask();
    if (!over && !document.hidden) timer = setTimeout(turn, EVERY_MS);
  };
  document.addEventListener('visibilitychange', turn);
  void turn();
  return () => {
    over = true;
    clearTimeout(timer);
    document.removeEventListener('visibilitychange', turn);
  };
}
