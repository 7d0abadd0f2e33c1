// Jobs that differ in nothing but seed and tags stand together: mean and spread over seeds. Pure.

/** [{name, jobs, scores, mean, spread, min, max, baseline}], in the order in which they come. */
export function groupsOf(jobs) {
  const groups = new Map();
  for (const job of jobs) {
    const key = JSON.stringify(withoutSeed(job.spec));
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(job);
  }
  return [...groups.values()].map((members) => ({ jobs: members, name: nameOf(members), ...statistics(members) }));
}

/** Sample standard deviation, as `eegq compare` gives it; null for a single score. */
export function statistics(jobs) {
  const scores = jobs.map((job) => job.best?.value).filter(Number.isFinite);
  const mean = scores.length ? scores.reduce((a, b) => a + b) / scores.length : null;
  const squares = scores.reduce((sum, score) => sum + (score - mean) ** 2, 0);
  return {
    scores,
    mean,
    spread: scores.length > 1 ? Math.sqrt(squares / (scores.length - 1)) : null,
    min: scores.length ? Math.min(...scores) : null,
    max: scores.length ? Math.max(...scores) : null,
    baseline: jobs.find((job) => job.best?.baseline != null)?.best.baseline ?? null,
  };
}

/** [{pointer, values}] of every place where the specs differ, one value a job. */
export function differences(jobs) {
  const flat = jobs.map((job) => new Map(leaves(withoutTags(job.spec), "")));
  const pointers = [...new Set(flat.flatMap((map) => [...map.keys()]))];
  return pointers
    .map((pointer) => ({ pointer, values: flat.map((map) => map.get(pointer)) }))
    .filter(({ values }) => values.some((value) => value !== values[0]));
}

function* leaves(value, pointer) {
  if (value !== null && typeof value === "object" && Object.keys(value).length) {
    for (const [key, child] of Object.entries(value)) yield* leaves(child, `${pointer}/${key}`);
  } else yield [pointer, JSON.stringify(value)];
}

/** The tag all members share, else the model. */
function nameOf(jobs) {
  const shared = jobs[0].tags.filter((tag) => jobs.every((job) => job.tags.includes(tag)));
  return shared[0]?.replace(/^group:/, "") ?? jobs[0].spec.model.name;
}

const withoutTags = ({ tags, metadata, ...spec }) => spec;
const withoutSeed = ({ seed, tags, metadata, ...spec }) => spec;
