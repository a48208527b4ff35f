// A QR code for a link: byte mode, error correction M, versions 1 to 9 (180 bytes), after ISO/IEC 18004.

const BLOCKS = [1, 1, 1, 2, 2, 4, 4, 4, 5]; // by version, level M
const CHECK_BYTES = [10, 16, 26, 18, 24, 16, 18, 22, 22]; // in each block
const ALIGNMENT = [0, 18, 22, 26, 30, 34, 22, 24, 26]; // the second centre; the others follow from it
const FORMAT_M = 0;

/** Return the modules of the code, rows of booleans (true is dark), or null for a text too long for it. */
export function qr(text) {
  const bytes = new TextEncoder().encode(text);
  const at = BLOCKS.findIndex((_, index) => bytes.length <= dataBytes(index + 1) - 2);
  if (at < 0) return null;
  const version = at + 1;
  const { grid, reserved } = skeleton(version);
  place(grid, reserved, interleave(version, payload(bytes, dataBytes(version))));
  const candidates = MASKS.map((mask, index) => finish(grid, reserved, mask, index));
  return candidates.reduce((a, b) => (penalty(b) < penalty(a) ? b : a));
}

const size = (version) => version * 4 + 17;

function allBytes(version) {
  const { reserved } = skeleton(version);
  return reserved.flat().filter((taken) => !taken).length >> 3;
}

const dataBytes = (version) => allBytes(version) - BLOCKS[version - 1] * CHECK_BYTES[version - 1];

function payload(bytes, room) {
  const bits = [];
  const put = (value, length) => {
    for (let bit = length - 1; bit >= 0; bit -= 1) bits.push((value >> bit) & 1);
  };
  put(0b0100, 4);
  put(bytes.length, 8);
  bytes.forEach((byte) => put(byte, 8));
  put(0, Math.min(4, room * 8 - bits.length));
  put(0, -bits.length & 7);
  for (let pad = 0xec; bits.length < room * 8; pad ^= 0xec ^ 0x11) put(pad, 8);
  return Array.from({ length: room }, (_, at) => bits.slice(at * 8, at * 8 + 8).reduce((sum, bit) => sum * 2 + bit, 0));
}

// -- Reed-Solomon over GF(256), polynomial 0x11d ---------------------------------------------------------------------

function multiply(a, b) {
  let product = 0;
  for (let bit = 7; bit >= 0; bit -= 1) {
    product = (product << 1) ^ ((product >> 7) * 0x11d);
    product ^= ((b >> bit) & 1) * a;
  }
  return product;
}

function checkBytes(data, degree) {
  const divisor = new Uint8Array(degree);
  divisor[degree - 1] = 1;
  for (let step = 0, root = 1; step < degree; step += 1, root = multiply(root, 2)) {
    for (let at = 0; at < degree; at += 1) {
      divisor[at] = multiply(divisor[at], root) ^ (divisor[at + 1] ?? 0);
    }
  }
  const rest = new Array(degree).fill(0);
  for (const byte of data) {
    const factor = byte ^ rest.shift();
    rest.push(0);
    divisor.forEach((each, at) => (rest[at] ^= multiply(each, factor)));
  }
  return rest;
}

function interleave(version, data) {
  const count = BLOCKS[version - 1];
  const short = Math.floor(data.length / count);
  const longFrom = count - (data.length % count); // the last blocks carry one byte more
  let read = 0;
  const blocks = Array.from({ length: count }, (_, at) => data.slice(read, (read += short + (at >= longFrom ? 1 : 0))));
  const checks = blocks.map((block) => checkBytes(block, CHECK_BYTES[version - 1]));
  const across = (rows) => rows.at(-1).flatMap((_, at) => rows.filter((row) => at < row.length).map((row) => row[at]));
  return [...across(blocks), ...across(checks)];
}

// -- the square ------------------------------------------------------------------------------------------------------

function skeleton(version) {
  const n = size(version);
  const grid = Array.from({ length: n }, () => new Array(n).fill(false));
  const reserved = Array.from({ length: n }, () => new Array(n).fill(false));
  const set = (x, y, dark) => {
    if (x < 0 || y < 0 || x >= n || y >= n) return;
    grid[y][x] = dark;
    reserved[y][x] = true;
  };
  for (let at = 0; at < n; at += 1) {
    set(at, 6, at % 2 === 0);
    set(6, at, at % 2 === 0);
  }
  const ring = (cx, cy, reach, isDark) => {
    for (let y = -reach; y <= reach; y += 1) {
      for (let x = -reach; x <= reach; x += 1) set(cx + x, cy + y, isDark(Math.max(Math.abs(x), Math.abs(y))));
    }
  };
  for (const [x, y] of [[3, 3], [n - 4, 3], [3, n - 4]]) ring(x, y, 4, (distance) => distance !== 2 && distance !== 4);
  const centres = version === 1 ? [] : version < 7 ? [6, ALIGNMENT[version - 1]] : [6, ALIGNMENT[version - 1], n - 7];
  for (const y of centres) {
    for (const x of centres) {
      const inCorner = (x === 6 && y === 6) || (x === 6 && y === n - 7) || (x === n - 7 && y === 6);
      if (!inCorner) ring(x, y, 2, (distance) => distance !== 1);
    }
  }
  formatBits(0, n, set);
  if (version >= 7) versionBits(version, n, set);
  return { grid, reserved };
}

function formatBits(mask, n, set) {
  const data = (FORMAT_M << 3) | mask;
  let rest = data;
  for (let step = 0; step < 10; step += 1) rest = (rest << 1) ^ ((rest >> 9) * 0x537);
  const bits = ((data << 10) | rest) ^ 0x5412;
  const bit = (at) => ((bits >> at) & 1) === 1;
  for (let at = 0; at < 6; at += 1) set(8, at, bit(at));
  set(8, 7, bit(6));
  set(8, 8, bit(7));
  set(7, 8, bit(8));
  for (let at = 9; at < 15; at += 1) set(14 - at, 8, bit(at));
  for (let at = 0; at < 8; at += 1) set(n - 1 - at, 8, bit(at));
  for (let at = 8; at < 15; at += 1) set(8, n - 15 + at, bit(at));
  set(8, n - 8, true);
}

function versionBits(version, n, set) {
  let rest = version;
  for (let step = 0; step < 12; step += 1) rest = (rest << 1) ^ ((rest >> 11) * 0x1f25);
  const bits = (version << 12) | rest;
  for (let at = 0; at < 18; at += 1) {
    const dark = ((bits >> at) & 1) === 1;
    const far = n - 11 + (at % 3);
    const near = Math.floor(at / 3);
    set(far, near, dark);
    set(near, far, dark);
  }
}

function place(grid, reserved, bytes) {
  const n = grid.length;
  let bit = 0;
  for (let right = n - 1; right >= 1; right -= 2) {
    if (right === 6) right = 5;
    for (let step = 0; step < n; step += 1) {
      const upward = ((right + 1) & 2) === 0;
      const y = upward ? n - 1 - step : step;
      for (const x of [right, right - 1]) {
        if (reserved[y][x]) continue;
        grid[y][x] = bit < bytes.length * 8 && ((bytes[bit >> 3] >> (7 - (bit & 7))) & 1) === 1;
        bit += 1;
      }
    }
  }
}

const MASKS = [
  (x, y) => (x + y) % 2 === 0,
  (x, y) => y % 2 === 0,
  (x) => x % 3 === 0,
  (x, y) => (x + y) % 3 === 0,
  (x, y) => (Math.floor(x / 3) + Math.floor(y / 2)) % 2 === 0,
  (x, y) => ((x * y) % 2) + ((x * y) % 3) === 0,
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2 === 0,
  (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2 === 0,
];

function finish(grid, reserved, mask, index) {
  const masked = grid.map((row, y) => row.map((dark, x) => (reserved[y][x] ? dark : dark !== mask(x, y))));
  formatBits(index, masked.length, (x, y, dark) => (masked[y][x] = dark));
  return masked;
}

/** How hard a square is to read: long runs, blocks, what looks like a finder, a tilt towards dark or light. */
function penalty(grid) {
  const n = grid.length;
  const lines = [...grid, ...grid.map((_, x) => grid.map((row) => row[x]))];
  let sum = 0;
  for (const line of lines) {
    const text = line.map(Number).join("");
    for (const run of text.match(/0{5,}|1{5,}/g) ?? []) sum += run.length - 2;
    for (const pattern of ["00001011101", "10111010000"]) {
      for (let at = text.indexOf(pattern); at >= 0; at = text.indexOf(pattern, at + 1)) sum += 40;
    }
  }
  for (let y = 1; y < n; y += 1) {
    for (let x = 1; x < n; x += 1) {
      const dark = grid[y][x];
      if (dark === grid[y - 1][x] && dark === grid[y][x - 1] && dark === grid[y - 1][x - 1]) sum += 3;
    }
  }
  const share = grid.flat().filter(Boolean).length / (n * n);
  return sum + Math.floor(Math.abs(share * 20 - 10)) * 10;
}
