// Lists in pages.
import { useEffect, useState } from 'preact/hooks';

import { count } from '../words';

/** The number of rows on a page. */
export const PAGE = 50;

/** Remembers where each page begins, so that earlier pages can be shown again. */
export function usePages(of: string) {
  const [pages, setPages] = useState<{ of: string; starts: (string | null)[] }>({ of, starts: [null] });
  const starts = pages.of === of ? pages.starts : [null];
  return {
    after: starts.at(-1) ?? null,
    at: starts.length - 1,
    on: (next: string) => setPages({ of, starts: [...starts, next] }),
    begin: () => setPages({ of, starts: [null] }),
    back: () => setPages({ of, starts: starts.slice(0, -1) }),
  };
}

type Pages = ReturnType<typeof usePages>;

interface PagerProps {
  pages: Pages;
  /** The number of rows on this page. */
  rows: number;
  next: string | null;
  total: number;
  what: string;
}

export function Pager({ pages, rows, next, total, what }: PagerProps) {
  const first = pages.at * PAGE + 1;
  // The list has become so short that it ends before this page.
  const isBeyond = rows === 0 && pages.at > 0;
  useEffect(() => {
    if (isBeyond) pages.begin();
  }, [isBeyond]);
  return (
    <div class="pager">
      <span class="soft" role="status">
        {total && !isBeyond ? `${first.toLocaleString('en')} to ${Math.min(total, first + PAGE - 1).toLocaleString('en')} of ${count(total, what)}` : `No ${what}s`}
      </span>
      <button type="button" class="quiet" disabled={pages.at === 0} onClick={pages.back} aria-label={`Back: ${what}s`}>
        Back
      </button>
      <button type="button" class="quiet" disabled={next === null} onClick={() => next !== null && pages.on(next)} aria-label={`Next: ${what}s`}>
        Next
      </button>
    </div>
  );
}
