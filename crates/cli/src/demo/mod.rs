pub(crate) async fn run(_flags: crate::flags::DemoFlags, _shutdown: impl Future) -> anyhow::Result<()> { Ok(()) }
