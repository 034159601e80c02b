// How the hub is, asked again every second while somebody can see the page.
import { useEffect, useState } from 'preact/hooks';

import { get, type About, type HubStats, type Stats } from './api';

const EVERY_MS = 1_000;

export interface Live {
  about?: About;
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
      const [stats, mesh] = await Promise.all([get<Stats>('/stats'), get<HubStats>('/hubstats')]);
      about ??= await get<About>('/page.json');
      if (!over) tell({ about, stats, mesh, answers: true });
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
