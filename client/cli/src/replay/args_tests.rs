use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    replay: ReplayArgs,
}

fn args(line: &str) -> ReplayArgs {
    read(line).unwrap()
}

fn read(line: &str) -> Result<ReplayArgs, clap::Error> {
    Line::try_parse_from(["replay"].into_iter().chain(line.split_whitespace())).map(|line| line.replay)
}

fn checkpoint_of(line: &str) -> Option<String> {
    args(line).checkpoint_path().map(|path| path.display().to_string())
}

#[test]
fn every_sink_has_its_checkpoint() {
    assert_eq!(checkpoint_of("orders"), None);
    assert_eq!(checkpoint_of("orders --out a/b.jsonl").as_deref(), Some("a/b.jsonl.checkpoint"));
    assert_eq!(checkpoint_of("a,b c --into d").as_deref(), Some("a+b+c-into-d.checkpoint"));
    assert_eq!(checkpoint_of("orders --checkpoint x").as_deref(), Some("x"));
    assert_eq!(checkpoint_of("orders --into copy --checkpoint none"), None);
}

#[test]
fn what_contradicts_itself_is_refused() {
    for line in [
        "",
        "orders --out a --into b",
        "orders --to-stdout --into b",
        "orders --from 1 --since 1h",
        "orders --scan",
        "orders --force",
        "orders --into b --format raw",
        "orders --format pretty",
        "orders --speed 3",
        "orders --sample 3",
        "orders --partition x",
    ] {
        assert!(read(line).is_err(), "{line}");
    }
    for line in ["orders --into orders", "orders --resume", "orders --resume --checkpoint none"] {
        assert!(args(line).check().is_err(), "{line}");
    }
    args("orders --into orders --allow-same-topic").check().unwrap();
    args("orders --from -1h --to -5 --speed 10x --max-gap 5s").check().unwrap();
}

#[test]
fn only_what_decides_the_result_is_kept_for_the_resumption() {
    let plain = args("orders --from -1h --into copy");
    let paced = args("orders --from -1h --into copy --rate 5/s --progress none --resume --yes");
    assert_eq!(plain.arguments(), paced.arguments());
    for line in [
        "orders,more --from -1h --into copy",
        "orders --from -2h --into copy",
        "orders --from -1h --into other",
        "orders --from -1h --out copy",
        "orders --from -1h --into copy --key a",
        "orders --from -1h --into copy --sample 1/2",
        "orders --from -1h --into copy --invert",
        "orders --from -1h --into copy --partition-by same",
        "orders --from -1h --into copy --limit 3",
        "orders --since 1h --into copy",
    ] {
        assert_ne!(plain.arguments(), args(line).arguments(), "{line}");
    }
}

#[test]
fn since_is_a_time_before_now() {
    let now: Zoned = "2026-11-23T10:30:00+00:00[UTC]".parse().unwrap();
    assert_eq!(
        args("orders --since 1h").start_at(&now).unwrap(),
        args("orders --from -1h").start_at(&now).unwrap()
    );
    let error = args("orders --since soon").start_at(&now).unwrap_err();
    assert!(error.message().contains("soon"), "{error}");
    let error = args("orders --until soon").stop_at(&now).unwrap_err();
    assert!(error.message().starts_with("--until: "), "{error}");
}
