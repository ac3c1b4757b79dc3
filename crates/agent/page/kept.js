// @ts-check
// A bounded list of what several members send. Whoever holds most of it makes room, with its oldest: who talks most
// pushes out nobody else.

/** @template T */
export class Kept {
  /** @type {Map<number, {item: T, whose: string, size: number}>} In the order in which it came. */
  #all = new Map();
  /** @type {Map<string, {size: number, keys: Set<number>}>} */
  #shares = new Map();
  #size = 0;
  #next = 0;

  /** @param {number} itemsMax @param {number} [sizeMax] */
  constructor(itemsMax, sizeMax = Infinity) {
    this.itemsMax = itemsMax;
    this.sizeMax = sizeMax;
  }

  /** Adds something of somebody, and gives what had to go for it. @param {T} item @param {string} whose @param {number} [size] @returns {T[]} */
  add(item, whose, size = 1) {
    const key = this.#next++;
    this.#all.set(key, { item, whose, size });
    const share = this.#shares.get(whose) ?? { size: 0, keys: new Set() };
    this.#shares.set(whose, share);
    share.keys.add(key);
    share.size += size;
    this.#size += size;
    const gone = [];
    while (this.#all.size > this.itemsMax || this.#size > this.sizeMax) gone.push(this.#makeRoom());
    return gone;
  }

  #makeRoom() {
    const bySize = this.#size > this.sizeMax;
    let [most, whose] = [-1, ""];
    for (const [name, { size, keys }] of this.#shares) {
      const holds = bySize ? size : keys.size;
      if (holds > most) [most, whose] = [holds, name];
    }
    const share = /** @type {{size: number, keys: Set<number>}} */ (this.#shares.get(whose));
    const [key] = share.keys;
    const old = /** @type {{item: T, size: number}} */ (this.#all.get(key));
    this.#all.delete(key);
    share.keys.delete(key);
    share.size -= old.size;
    this.#size -= old.size;
    if (share.keys.size === 0) this.#shares.delete(whose);
    return old.item;
  }

  clear() {
    this.#all.clear();
    this.#shares.clear();
    this.#size = 0;
  }

  *[Symbol.iterator]() {
    for (const { item } of this.#all.values()) yield item;
  }
}
