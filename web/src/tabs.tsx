// Tabs, of which one is shown: the arrows go from one to the next, as people who use no mouse expect.

interface Props {
  /** What the ids of its elements begin with; that of the panel is this and no more. */
  id: string;
  names: readonly string[];
  chosen: number;
  choose: (number: number) => void;
  labelledby?: string;
  label?: string;
}

const STEPS: Record<string, (at: number, all: number) => number> = {
  ArrowRight: (at, all) => (at + 1) % all,
  ArrowLeft: (at, all) => (at + all - 1) % all,
  Home: () => 0,
  End: (_, all) => all - 1,
};

export function Tabs({ id, names, chosen, choose, labelledby, label }: Props) {
  const step = (event: KeyboardEvent) => {
    const next = STEPS[event.key]?.(chosen, names.length);
    if (next === undefined) return;
    event.preventDefault();
    choose(next);
    document.getElementById(`${id}-${next}`)?.focus();
  };
  return (
    <div class="tabs" role="tablist" aria-labelledby={labelledby} aria-label={label} onKeyDown={step}>
      {names.map((name, number) => (
        <button
          key={name}
          type="button"
          role="tab"
          id={`${id}-${number}`}
          aria-selected={number === chosen}
          aria-controls={id}
          tabIndex={number === chosen ? 0 : -1}
          onClick={() => choose(number)}
        >
          {name}
        </button>
      ))}
    </div>
  );
}
