//! Sound for a fake microphone, and what a loudspeaker gets.

use std::path::Path;

use crate::Browser;

/// Samples a second.
pub const RATE: f64 = 48_000.0;

/// Writes a sound file, 16 bit mono, of whole seconds; `sample` is told the time in seconds.
pub fn wav(path: &Path, seconds: u32, sample: impl Fn(f64) -> f64) {
    let samples = (0..seconds * 48_000).map(|i| sample(f64::from(i) / RATE) * f64::from(i16::MAX));
    #[allow(clippy::cast_possible_truncation)]
    let data: Vec<u8> = samples.flat_map(|sample| (sample as i16).to_le_bytes()).collect();
    let length = u32::try_from(data.len()).unwrap();
    let mut file = Vec::from(*b"RIFF");
    file.extend((36 + length).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16u32.to_le_bytes());
    for word in [1u16, 1] {
        file.extend(word.to_le_bytes());
    }
    for long in [48_000u32, 96_000] {
        file.extend(long.to_le_bytes());
    }
    for word in [2u16, 16] {
        file.extend(word.to_le_bytes());
    }
    file.extend(b"data");
    file.extend(length.to_le_bytes());
    file.extend(data);
    std::fs::write(path, file).unwrap();
}

/// The root mean square.
pub fn loudness(samples: &[f64]) -> f64 {
    (samples.iter().map(|x| x * x).sum::<f64>() / samples.len() as f64).sqrt()
}

/// In Hz, by the crossings of zero; 0 where there are none.
pub fn pitch(samples: &[f64]) -> f64 {
    let rise = |(i, pair): (usize, &[f64])| match *pair {
        [low, high] if low < 0.0 && high >= 0.0 => Some(i as f64 - low / (high - low)),
        _ => None,
    };
    let at: Vec<f64> = samples.windows(2).enumerate().filter_map(rise).collect();
    match at.as_slice() {
        [first, .., last] => RATE * (at.len() - 1) as f64 / (last - first),
        _ => 0.0,
    }
}

/// What is not heard in so many looks is not there. A look takes as long as the machine needs for it.
pub const LOOKS_MAX: usize = 600;

/// Samples in 10 ms.
const PIECE: usize = 480;

/// How loud those pieces of 10 ms are that hold a tone of this pitch, to a fiftieth, and nothing else that is as loud. A machine
/// with much else to do leaves gaps in what is heard; between them it is as it should be.
pub fn pieces(samples: &[f64], of_pitch: f64) -> Vec<f64> {
    let holds = |piece: &&[f64]| loudness(piece) > 0.05 && (pitch(piece) - of_pitch).abs() < 0.02 * of_pitch;
    samples.chunks_exact(PIECE).filter(holds).map(loudness).collect()
}

impl Browser {
    /// A browser whose microphone plays this file, again and again, and that lets every page have it.
    pub async fn hearing(file: &Path) -> Option<Browser> {
        let play = format!("--use-file-for-fake-audio-capture={}", file.display());
        Browser::start_with(&["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", &play]).await
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::{RATE, pieces};

    #[test]
    fn a_tone_is_found_between_gaps_and_nothing_else_is() {
        let sound = |of: &dyn Fn(f64) -> f64| (0..9600).map(|n| of(f64::from(n) / RATE)).collect::<Vec<f64>>();
        let tone = |pitch: f64| move |t: f64| 0.4 * (TAU * pitch * t).sin();
        assert_eq!(pieces(&sound(&tone(330.0)), 330.0).len(), 20);
        let with_gap = sound(&|t| if (0.05..0.11).contains(&t) { 0.0 } else { tone(330.0)(t) });
        assert!((13..16).contains(&pieces(&with_gap, 330.0).len()), "{:?}", pieces(&with_gap, 330.0));
        for wrong in [sound(&tone(300.0)), sound(&tone(360.0)), sound(&|_| 0.0), sound(&|t| 0.05 * tone(330.0)(t))] {
            assert!(pieces(&wrong, 330.0).is_empty());
        }
        let distorted = sound(&|t| tone(330.0)(t) + tone(2310.0)(t));
        assert!(pieces(&distorted, 330.0).is_empty());
    }
}
