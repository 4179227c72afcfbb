use super::*;

#[test]
fn a_failure_is_one_line_with_cause_and_remedy() {
    let failure = Failure::failed("first\n  second\n").with_help("do this");
    assert_eq!(failure.to_string(), "error: first second (do this)");
}

#[test]
fn a_failure_in_json_keeps_its_parts_apart() {
    let failure = Failure::usage("no").with_help("yes");
    let expected = json!({"error": {"code": null, "message": "no", "help": "yes", "exit_code": 2}});
    assert_eq!(failure.to_json(), expected);
}

#[test]
fn a_closed_pipe_is_no_failure_and_a_full_disk_is() {
    let closed = Failure::output(&io::Error::from(io::ErrorKind::BrokenPipe));
    assert_eq!(closed.exit(), Exit::OutputClosed);
    let full = Failure::output(&io::Error::from(io::ErrorKind::StorageFull));
    assert_eq!(full.exit(), Exit::Failed);
}

#[tokio::test]
async fn the_clients_errors_keep_their_remedy() {
    let error = tidelog_client::Client::connect("ftp://x").await.unwrap_err();
    let failure = Failure::from(&error);
    assert_eq!(failure.exit(), Exit::Failed);
    assert_eq!(failure.to_string(), format!("error: {error}"));
}
