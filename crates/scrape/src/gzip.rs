use std::{
    fmt,
    io::{self, BufRead, Read},
};

use bytes::{Buf, Bytes};
use flate2::bufread::MultiGzDecoder;

use crate::ScrapeError;

/// Most bytes decoded in one step.
const PIECE_LEN: usize = 32 << 10;

/// Decodes gzip, concatenated members included, from pieces of input to bounded pieces of output.
#[derive(Default)]
pub(crate) struct GzipDecoder {
    decoder: Option<MultiGzDecoder<Input>>,
    finished: bool,
}

impl GzipDecoder {
    /// Adds input; all earlier input must have been consumed, that is [`read`](Self::read) returned `None`.
    pub(crate) fn feed(&mut self, data: Bytes) {
        self.input().data = data;
    }

    /// Says that no more input will come.
    pub(crate) fn end(&mut self) {
        self.input().ended = true;
    }

    /// Whether everything was decoded and all checksums matched.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// The next piece of output; `None` when input is needed or when [finished](Self::is_finished).
    pub(crate) fn read(&mut self) -> Result<Option<Bytes>, ScrapeError> {
        let Some(decoder) = &mut self.decoder else { return Ok(None) };
        if self.finished {
            return Ok(None);
        }
        let mut piece = vec![0; PIECE_LEN];
        match decoder.read(&mut piece) {
            Ok(0) => {
                self.finished = true;
                Ok(None)
            }
            Ok(len) => {
                piece.truncate(len);
                Ok(Some(piece.into()))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(ScrapeError::Truncated { problem: "the gzip stream stops short".to_owned() })
            }
            Err(error) => Err(ScrapeError::Gzip { problem: error.to_string() }),
        }
    }

    fn input(&mut self) -> &mut Input {
        self.decoder.get_or_insert_with(|| MultiGzDecoder::new(Input::default())).get_mut()
    }
}

impl fmt::Debug for GzipDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GzipDecoder").field("finished", &self.finished).finish_non_exhaustive()
    }
}

/// Input that may run dry before its end: the decoder keeps its state over `WouldBlock`.
#[derive(Default)]
struct Input {
    data: Bytes,
    ended: bool,
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.data.is_empty() && !self.ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(&self.data)
    }

    fn consume(&mut self, amount: usize) {
        self.data.advance(amount);
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let len = available.len().min(buffer.len());
        buffer[..len].copy_from_slice(&available[..len]);
        self.consume(len);
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// Decodes input that arrives in pieces of `step` bytes.
    fn decode(input: &[u8], step: usize) -> Result<Vec<u8>, ScrapeError> {
        let mut decoder = GzipDecoder::default();
        let mut out = Vec::new();
        let mut drain = |decoder: &mut GzipDecoder| {
            while let Some(piece) = decoder.read()? {
                assert!(!piece.is_empty() && piece.len() <= PIECE_LEN);
                out.extend_from_slice(&piece);
            }
            Ok::<_, ScrapeError>(())
        };
        for piece in input.chunks(step) {
            decoder.feed(Bytes::copy_from_slice(piece));
            drain(&mut decoder)?;
        }
        decoder.end();
        drain(&mut decoder)?;
        assert!(decoder.is_finished());
        Ok(out)
    }

    #[test]
    fn whole_streams_in_any_pieces() {
        let text: Vec<u8> = (0..50_000u32).flat_map(|n| format!("m{{n=\"{n}\"}} {n}\n").into_bytes()).collect();
        let mut members = gzip(&text);
        members.extend(gzip(b""));
        members.extend(gzip(b"tail 1\n"));
        let expected = [text.as_slice(), b"tail 1\n"].concat();
        for step in [1, 7, 4096, members.len()] {
            assert_eq!(decode(&members, step).unwrap(), expected, "step {step}");
        }
    }

    #[test]
    fn broken_streams() {
        let whole = gzip(b"up 1\n");
        for len in 0..whole.len() {
            assert_eq!(decode(&whole[..len], 3).unwrap_err().kind(), "truncated", "cut at {len}");
        }
        let mut wrong_sum = whole.clone();
        let at = wrong_sum.len() - 8;
        wrong_sum[at] ^= 1;
        let garbage_behind = [whole.as_slice(), b"garbage behind"].concat();
        for broken in [b"up 1\nup 2\nup 3\n".to_vec(), wrong_sum, garbage_behind] {
            assert_eq!(decode(&broken, 4).unwrap_err().kind(), "gzip");
        }
    }
}
