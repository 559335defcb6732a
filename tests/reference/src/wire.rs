//! The reference programs and what is written to and read from them; `go/wire` describes the format.

use std::{
    io::{Read, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, ensure};

/// A batch under construction, or any part of one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(crate) fn number(&mut self, number: usize) {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        self.0.extend(number.to_le_bytes());
    }

    pub(crate) fn text(&mut self, text: impl AsRef<[u8]>) {
        self.number(text.as_ref().len());
        self.0.extend(text.as_ref());
    }
}

/// Takes an answer apart.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> anyhow::Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).context("the answer of a reference program is cut short")?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn bool(&mut self) -> anyhow::Result<bool> {
        Ok(self.take(1)? == [1])
    }

    pub(crate) fn number(&mut self) -> anyhow::Result<usize> {
        Ok(self.optional_number()?.unwrap_or(usize::MAX))
    }

    /// `None` for -1.
    pub(crate) fn optional_number(&mut self) -> anyhow::Result<Option<usize>> {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(self.take(4)?);
        Ok(usize::try_from(i32::from_le_bytes(bytes)).ok())
    }

    pub(crate) fn text(&mut self) -> anyhow::Result<String> {
        let length = self.number()?;
        Ok(String::from_utf8_lossy(self.take(length)?).into_owned())
    }

    /// Fails if something was not read.
    pub(crate) fn end(&self) -> anyhow::Result<()> {
        ensure!(self.0.is_empty(), "a reference program answered {} bytes too many", self.0.len());
        Ok(())
    }
}

/// A running reference program. It ends when its input does.
pub(crate) struct Program {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
}

impl Program {
    pub(crate) fn start(path: &Path) -> anyhow::Result<Program> {
        let name = path.display().to_string();
        let mut command = Command::new(path);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().with_context(|| name.clone())?;
        let input = child.stdin.take();
        let output = child.stdout.take().context("no pipe")?;
        Ok(Program { name, child, input, output })
    }

    /// Sends a batch. The program reads all of it before it answers, so nothing waits for the other.
    pub(crate) fn ask(&mut self, batch: &Writer) -> anyhow::Result<()> {
        let length = u32::try_from(batch.0.len()).context("a batch of 4 GiB")?;
        let input = self.input.as_mut().context("closed")?;
        input
            .write_all(&length.to_le_bytes())
            .and_then(|()| input.write_all(&batch.0))
            .and_then(|()| input.flush())
            .with_context(|| format!("asking {}", self.name))
    }

    /// Waits for the answer to the last batch.
    pub(crate) fn answer(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut read = || {
            let mut length = [0; 4];
            self.output.read_exact(&mut length)?;
            let mut answer = vec![0; u32::from_le_bytes(length) as usize];
            self.output.read_exact(&mut answer)?;
            std::io::Result::Ok(answer)
        };
        read().with_context(|| format!("{} did not answer", self.name))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.child.wait();
    }
}

/// What [`Program::answer`] gave.
pub(crate) fn reader(answer: &[u8]) -> Reader<'_> {
    Reader(answer)
}
