// The sound of low time: two short tones, made in the browser.

const TONES_HZ = [880, 660];
const TONE_S = 0.12;
const LOUDNESS = 0.2;

let context: AudioContext | null = null;

/**
 * Play the sound once. Browsers play nothing before the user has clicked on the page or pressed a key. A sound that is
 * not possible now is not played later.
 */
export function playLowTime(): void {
  const Class = globalThis.AudioContext;
  if (!Class) return;
  context ??= new Class();
  const audio = context;
  if (audio.state === "running") play(audio);
  else if (navigator.userActivation?.hasBeenActive) void audio.resume().then(() => play(audio));
}

function play(audio: AudioContext): void {
  const loudness = audio.createGain();
  loudness.gain.value = LOUDNESS;
  loudness.connect(audio.destination);
  for (const [at, hz] of TONES_HZ.entries()) {
    const tone = audio.createOscillator();
    tone.frequency.value = hz;
    tone.connect(loudness);
    tone.start(audio.currentTime + at * TONE_S);
    tone.stop(audio.currentTime + (at + 1) * TONE_S);
  }
}
