import { Text } from "./text";
import { Parser, unquote } from "./json";

/**
 * Config is the module's config: a JSON object, read key by key with the type
 * that the guest expects. A value of another type, and what problem is told,
 * makes the host refuse the module with that line. What it returns stays.
 */
@final
export class Config {
  /** What is wrong. */
  readonly problems: Array<string>;
  /** The keys, in the order they came. */
  readonly keys: Array<Text> = [];
  private values: Array<Text> = []; // raw JSON
  private at: string; // path of this object, for messages

  private constructor(at: string, problems: Array<string>) {
    this.at = at;
    this.problems = problems;
  }

  /** read reads the config that runnel_init is given. */
  static read(at: usize, size: usize): Config {
    const c = new Config("", []);
    const text = Text.view(at, <i32>size);
    const p = new Parser(text);
    if (size && !text.equals("null") && !(p.object(c.keys, c.values) && p.peek() == 0)) {
      c.keys.length = c.values.length = 0;
      c.problem("it is not a JSON object");
    }
    return c;
  }

  /** problem refuses the config with a message for whoever wrote it. */
  problem(message: string): void {
    this.problems.push(message);
  }

  has(key: string): bool {
    return this.find(key) != null;
  }

  /** raw returns a value as JSON, null if it is not there. */
  raw(key: string): Text | null {
    const v = this.find(key);
    return v ? v.keep() : null;
  }

  /**
   * known refuses every key that is not among these: call it once with all the
   * keys that the guest reads, so that a misspelt one does not go unseen.
   */
  known(keys: Array<string>): void {
    for (let i = 0; i < this.keys.length; i++) {
      let known = false;
      for (let k = 0; k < keys.length; k++) known = known || this.keys[i].equals(keys[k]);
      if (!known) {
        this.problem("unknown key \"" + this.at + this.keys[i].toString() + "\"; known are: " + keys.join(", "));
      }
    }
  }

  text(key: string, fallback: string = ""): Text {
    const v = this.find(key);
    if (v && v[0] == 0x22) return unquote(v);
    if (v) this.wrong(key, v, "a text");
    return Text.of(fallback);
  }

  bool(key: string, fallback: bool = false): bool {
    const v = this.find(key);
    if (!v) return fallback;
    if (v.equals("true") || v.equals("false")) return v.size == 4;
    this.wrong(key, v, "true or false");
    return fallback;
  }

  /** int reads a whole number between least and most. */
  int(key: string, fallback: i64 = 0, least: i64 = i64.MIN_VALUE, most: i64 = i64.MAX_VALUE): i64 {
    const v = this.find(key);
    if (!v) return fallback;
    const n = v.toInt(fallback);
    if (n == fallback && v.toInt(~fallback) != fallback) this.wrong(key, v, "a whole number");
    else if (n < least) this.wrong(key, v, "at least " + least.toString());
    else if (n > most) this.wrong(key, v, "at most " + most.toString());
    return n;
  }

  /** duration reads "2s", "1.5s", "100ms", "5m" or "1h", and returns nanoseconds. */
  duration(key: string, fallback: i64): i64 {
    const v = this.find(key);
    if (!v) return fallback;
    const n = v[0] == 0x22 ? units(unquote(v), ["ms", "s", "m", "h"], [1e6, 1e9, 60e9, 3600e9]) : -1;
    if (n < 0) this.wrong(key, v, "a time such as \"2s\" or \"100ms\"");
    return n;
  }

  /** bytes reads a number, "64KiB" or "1MiB". */
  bytes(key: string, fallback: i64): i64 {
    const v = this.find(key);
    if (!v) return fallback;
    let n = v.toInt(-1);
    if (v[0] == 0x22) n = units(unquote(v), ["KiB", "MiB", "GiB", "B"], [1024, 1048576, 1073741824, 1]);
    if (n < 0) this.wrong(key, v, "a size such as \"64KiB\"");
    return n;
  }

  /** texts reads a list of texts, empty where the key is absent. */
  texts(key: string): Array<Text> {
    const texts: Array<Text> = [];
    const v = this.find(key);
    if (!v) return texts;
    const values: Array<Text> = [];
    let ok = new Parser(v).list(values);
    for (let i = 0; i < values.length; i++) {
      if (values[i][0] == 0x22) texts.push(unquote(values[i]));
      else ok = false;
    }
    if (!ok) this.wrong(key, v, "a list of texts");
    return texts;
  }

  /** object returns an object within this one, empty where the key is absent. */
  object(key: string): Config {
    const c = new Config(this.at + key + ".", this.problems);
    const v = this.find(key);
    if (v && !new Parser(v).object(c.keys, c.values)) this.wrong(key, v, "an object");
    return c;
  }

  private find(key: string): Text | null {
    for (let i = 0; i < this.keys.length; i++) {
      if (this.keys[i].equals(key)) return this.values[i];
    }
    return null;
  }

  private wrong(key: string, value: Text, want: string): void {
    const shown = value.size > 40 ? value.slice(0, 40).toString() + "…" : value.toString();
    this.problem(this.at + key + " is " + shown + ", not " + want);
  }
}

/** units reads a number with one of the units behind it; −1 if it is none. */
function units(t: Text, names: Array<string>, worth: Array<f64>): i64 {
  for (let i = 0; i < names.length; i++) {
    if (!t.endsWith(names[i])) continue;
    const digits = t.slice(0, t.size - names[i].length);
    const dot = digits.indexOfByte(0x2e);
    const whole = digits.slice(0, dot < 0 ? digits.size : dot).toInt(-1);
    const part = dot < 0 ? Text.view(0, 0) : digits.slice(dot + 1);
    const rest = part.size ? part.toInt(-1) : 0;
    if (whole < 0 || rest < 0 || (dot >= 0 && part.size == 0)) return -1;
    return <i64>((<f64>whole + <f64>rest / 10.0 ** <f64>part.size) * worth[i]);
  }
  return -1;
}
