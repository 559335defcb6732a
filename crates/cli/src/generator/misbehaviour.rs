//! Bodies that no exporter should serve, and some do.

use std::{convert::Infallible, io::Write};

use axum::body::{Body, Bytes};
use flate2::{Compress, Compression, Crc, FlushCompress, write::GzEncoder};
use futures::stream;

/// Size of [`bomb`] once decompressed.
pub(crate) const BOMB_BYTES: u64 = 2 << 30;

const CHUNK: usize = 1 << 20;

/// Valid lines without an end.
pub(crate) fn endless() -> Body {
    let lines = Bytes::from(lines("endless"));
    Body::from_stream(stream::repeat_with(move || Ok::<_, Infallible>(lines.clone())))
}

/// A megabyte of text that is not metrics.
pub(crate) fn garbage() -> Body {
    Body::from("<html><body>this is not metrics</body></html> {{{\n".repeat(20_972))
}

/// A gzip stream of about 16 MB that is 2 GiB of valid lines once decompressed.
pub(crate) fn bomb() -> Body {
    let lines = lines("bomb");
    let parts = repeated_gzip(&lines, BOMB_BYTES / lines.len() as u64);
    Body::from_stream(stream::iter(parts.map(Ok::<_, Infallible>)))
}

/// The gzip stream of `plain` so many times over; `plain` is compressed once.
fn repeated_gzip(plain: &[u8], repeats: u64) -> impl Iterator<Item = Bytes> + use<> {
    // A full flush ends on a byte and forgets the dictionary, so that the same bytes can follow each other.
    let mut block = Vec::with_capacity(plain.len() + 1024);
    // The buffer holds whatever comes out, so one call takes all input; nothing else can fail in memory.
    let _ = Compress::new(Compression::default(), false).compress_vec(plain, &mut block, FlushCompress::Full);
    let block = Bytes::from(block);

    let mut one = Crc::new();
    one.update(plain);
    let mut all = Crc::new();
    for _ in 0..repeats {
        all.combine(&one);
    }
    let header = Bytes::from_static(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
    // An empty last block, then the checksum and the length modulo 2^32.
    let mut trailer = vec![0x03, 0x00];
    trailer.extend(all.sum().to_le_bytes());
    trailer.extend(all.amount().to_le_bytes());

    let blocks = std::iter::repeat_n(block, usize::try_from(repeats).unwrap_or(0));
    std::iter::once(header).chain(blocks).chain(std::iter::once(trailer.into()))
}

/// `text` compressed; fast rather than small.
pub(crate) fn gzip(text: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 8), Compression::fast());
    // Writing to memory cannot fail.
    let _ = encoder.write_all(text);
    encoder.finish().unwrap_or_default().into()
}

/// A megabyte of valid lines, every one of the same length.
fn lines(metric: &str) -> Vec<u8> {
    let line = format!("kvass_{metric}_metric{{pad=\"{}\"}} 1\n", "x".repeat(128 - 24 - metric.len()));
    line.into_bytes().into_iter().cycle().take(CHUNK).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use futures::StreamExt;

    use super::*;

    #[test]
    fn a_chunk_holds_whole_lines() {
        for metric in ["endless", "bomb"] {
            let lines = lines(metric);
            assert_eq!((lines.len(), lines.last()), (CHUNK, Some(&b'\n')), "{metric}");
            let text = String::from_utf8(lines).unwrap();
            assert!(text.lines().all(|line| line.len() == 127 && line.ends_with("\"} 1")), "{metric}");
        }
    }

    #[test]
    fn a_repeated_stream_is_correct_to_the_last_byte() {
        for repeats in [0, 1, 5] {
            let compressed: Vec<u8> = repeated_gzip(&lines("bomb"), repeats).flatten().collect();
            let mut plain = Vec::new();
            GzDecoder::new(&*compressed).read_to_end(&mut plain).unwrap();
            assert!(plain == lines("bomb").repeat(usize::try_from(repeats).unwrap()), "{repeats}");
        }
    }

    #[tokio::test]
    async fn the_bomb_is_small_before_it_explodes() {
        let mut stream = bomb().into_data_stream();
        let mut total = 0;
        while let Some(part) = stream.next().await {
            total += part.unwrap().len();
        }
        assert!(total < 16 << 20, "{total}");
    }
}
