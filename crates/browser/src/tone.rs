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

impl Browser {
    /// A browser whose microphone plays this file, again and again, and that lets every page have it.
    pub async fn hearing(file: &Path) -> Option<Browser> {
        let play = format!("--use-file-for-fake-audio-capture={}", file.display());
        Browser::start_with(&["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", &play]).await
    }
}
