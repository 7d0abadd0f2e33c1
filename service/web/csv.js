// The plain CSV that a job's results come as: no quotes inside, a header, numbers where they are numbers. Pure.

export function parse(text) {
  const [head, ...lines] = text
    .trim()
    .split("\n")
    .map((line) => line.split(","));
  return lines.map((cells) => Object.fromEntries(head.map((name, i) => [name, valueOf(cells[i])])));
}

function valueOf(cell = "") {
  return cell !== "" && Number.isFinite(Number(cell)) ? Number(cell) : cell;
}
