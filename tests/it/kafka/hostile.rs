//! A hundred hostile records through Kafka: each is dead-lettered or counted, and the calls around them are judged as if
//! they had not been there.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Site, scored};

const CALLS: &str = "src/simulation/calls.ndjson";

/// Key, value, and the reason for which it is refused; `None` where it must be accepted.
type Record = (Option<Vec<u8>>, Vec<u8>, Option<&'static str>);

fn hostile() -> Vec<Record> {
    let mut all: Vec<Record> = Vec::new();
    let mut add = |key: &str, value: &[u8], reason| all.push((Some(key.as_bytes().to_vec()), value.to_vec(), reason));
    let event = |id: &str, fields: &str| {
        format!(r#"{{"call_id":"{id}","at":"2026-05-04T09:00:00.000Z",{fields}}}"#).into_bytes()
    };
    // Not JSON, or not one object.
    for text in [
        "",
        " ",
        "hello",
        "{",
        "}",
        "{]",
        "nul",
        "{\"call_id\":\"h\"",
        "{\"a\":1}{\"b\":2}",
        "<xml/>",
        "\"",
        "{'a':1}",
        "{\"call_id\":\"h\",}",
        "NaN",
        "{\"a\":01}",
        "{\"a\":\"\u{1}\"}",
        "{\"a\" 1}",
        "tru",
        "1e",
        "--1",
        "{\"\\x\":1}",
        "undefined",
        "{\"a\":tru}",
        "{\"a\":[1,}",
        "{null:1}",
    ] {
        add("h", text.as_bytes(), Some("not_json"));
    }
    // The mark that some editors begin a file with is no part of it.
    add("h", "\u{feff}{}".as_bytes(), Some("missing_field"));
    for text in ["[1,", "[]", "17", "true", "null", "\"text\"", "[{\"call_id\":\"h\"}]"] {
        add("h", text.as_bytes(), Some("wrong_type"));
    }
    // Not UTF-8.
    for bytes in [
        &[0xff, 0xfe, 0x00][..],
        b"{\"call_id\":\"\xc3\x28\"}",
        &[0xc0, 0xaf],
        &[0xed, 0xa0, 0x80],
    ] {
        add("h", bytes, Some("not_utf8"));
    }
    // Too large, too deep.
    add(
        "h",
        format!("{{\"x\":\"{}\"}}", "a".repeat(10_000_000)).as_bytes(),
        Some("too_large"),
    );
    add("h", &vec![b'['; 300_000], Some("too_large"));
    for depth in [65, 200, 5_000] {
        add(
            "h",
            format!("{{\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth)).as_bytes(),
            Some("too_deep"),
        );
        add(
            "h",
            format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth)).as_bytes(),
            Some("too_deep"),
        );
    }
    // Missing fields.
    add("h", b"{}", Some("missing_field"));
    add(
        "h",
        br#"{"at":"2026-05-04T09:00:00Z","type":"utterance"}"#,
        Some("missing_field"),
    );
    add("h", br#"{"call_id":"h","type":"utterance"}"#, Some("missing_field"));
    add(
        "h",
        br#"{"call_id":"h","at":"2026-05-04T09:00:00Z"}"#,
        Some("missing_field"),
    );
    add("h", br#"{"call_id":null,"at":null,"type":null}"#, Some("missing_field"));
    for fields in [
        r#""type":"utterance""#,
        r#""type":"utterance","speaker":"caller""#,
        r#""type":"utterance","text":"hi""#,
        r#""type":"utterance","speaker":null,"text":"hi""#,
        r#""type":"answer","question":"q""#,
        r#""type":"answer","answer":"a""#,
        r#""type":"action""#,
        r#""type":"action","action":null"#,
    ] {
        add("h", &event("h", fields), Some("missing_field"));
    }
    // Wrong types of what is required.
    for fields in [
        r#""type":7"#,
        r#""type":["utterance"]"#,
        r#""type":"utterance","speaker":"caller","text":5"#,
        r#""type":"utterance","speaker":"caller","text":{"a":1}"#,
        r#""type":"utterance","speaker":"caller","text":["a"]"#,
        r#""type":"answer","question":1,"answer":"a""#,
        r#""type":"answer","question":"q","answer":false"#,
    ] {
        add("h", &event("h", fields), Some("wrong_type"));
    }
    for id in ["5", "true", "[\"h\"]", "{}"] {
        let value = format!(r#"{{"call_id":{id},"at":"2026-05-04T09:00:00Z","type":"call_ended"}}"#);
        add("h", value.as_bytes(), Some("wrong_type"));
    }
    // Impossible times.
    for at in [
        "",
        "noon",
        "2026-05-04",
        "2026-13-04T09:00:00Z",
        "2026-05-04T25:00:00Z",
        "1999-12-31T23:59:59Z",
        "2101-01-01T00:00:00Z",
        "-2026-05-04T09:00:00Z",
        "2026-05-04T09:00:00",
        "99999-01-01T00:00:00Z",
        "1714813200",
    ] {
        let value = format!(r#"{{"call_id":"h","at":"{at}","type":"call_ended"}}"#);
        add("h", value.as_bytes(), Some("bad_time"));
    }
    add(
        "h",
        br#"{"call_id":"h","at":1714813200,"type":"call_ended"}"#,
        Some("wrong_type"),
    );
    // Ids that are none.
    for id in ["", "\\u0000", "a\\nb"] {
        let value = format!(r#"{{"call_id":"{id}","at":"2026-05-04T09:00:00Z","type":"call_ended"}}"#);
        add("h", value.as_bytes(), Some("bad_call_id"));
    }
    let long = format!(
        r#"{{"call_id":"{}","at":"2026-05-04T09:00:00Z","type":"call_ended"}}"#,
        "x".repeat(129)
    );
    add("h", long.as_bytes(), Some("bad_call_id"));
    // A key that is not the call.
    add(
        "somebody else",
        &event("h", r#""type":"call_ended""#),
        Some("key_mismatch"),
    );
    add("", &event("h", r#""type":"call_ended""#), Some("key_mismatch"));
    // A value that makes the step panic in a test build.
    add(
        "fail-point-panic",
        &event("fail-point-panic", r#""type":"call_started""#),
        Some("internal"),
    );
    // Odd, and accepted all the same: unknown types and values, repeated, missing and huge numbers.
    for (id, fields) in [
        ("odd-1", r#""type":"telepathy""#),
        ("odd-1", r#""type":"""#),
        ("odd-2", r#""seq":5,"type":"call_started","channel":"carrier pigeon""#),
        (
            "odd-2",
            r#""seq":5,"type":"utterance","speaker":"caller","text":"again""#,
        ),
        (
            "odd-2",
            r#""seq":900,"type":"utterance","speaker":"ghost","text":"boo""#,
        ),
        (
            "odd-2",
            r#""seq":-4,"type":"utterance","speaker":"caller","text":"minus""#,
        ),
        (
            "odd-2",
            r#""seq":18446744073709551615,"type":"utterance","speaker":"caller","text":"huge""#,
        ),
        (
            "odd-2",
            r#""seq":"three","type":"utterance","speaker":"caller","text":"word""#,
        ),
        (
            "odd-3",
            r#""event_id":"e1","type":"utterance","speaker":"caller","text":"one""#,
        ),
        (
            "odd-3",
            r#""event_id":"e1","type":"utterance","speaker":"caller","text":"one""#,
        ),
        (
            "odd-3",
            r#""type":"utterance","speaker":"caller","text":"","confidence":99,"start_ms":"x""#,
        ),
        (
            "odd-3",
            r#""type":"call_started","patient":{"age":-5,"sex":7},"agent":"nobody""#,
        ),
        ("odd-3", r#""type":"action","action":"levitated""#),
        ("odd-3", r#""type":"call_ended","disposition":42"#),
    ] {
        add(id, &event(id, fields), None);
    }
    all
}

#[test]
fn kafka_hostile_records_harm_nobody_else() {
    let site = Site::new("hostile", 1, "[policy]\ncontact_lost_seconds = 12\n");
    let hostile = hostile();
    assert!(hostile.len() >= 100, "{}", hostile.len());
    let panics = cfg!(feature = "fail-points");
    let calls: Vec<String> = std::fs::read_to_string(CALLS)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    // One partition, so that they really stand between each other.
    let mut records = Vec::new();
    let every = calls.len() / hostile.len();
    for (at, line) in calls.iter().enumerate() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        records.push((
            Some(event["call_id"].as_str().unwrap().as_bytes().to_vec()),
            line.clone().into_bytes(),
        ));
        if at % every == 0
            && let Some((key, value, _)) = hostile.get(at / every)
        {
            records.push((key.clone(), value.clone()));
        }
    }
    let sent = records.len() - calls.len();
    assert_eq!(sent, hostile.len());
    let mut serve = site.serve();
    site.send(&records);
    let refused: Vec<&Record> = hostile
        .iter()
        .filter(|(_, _, reason)| reason.is_some_and(|reason| panics || reason != "internal"))
        .collect();
    serve.wait_until("all records are read", |serve| {
        serve.sum("callward_records_consumed_total") >= records.len() as f64
    });
    assert!(serve.is_running());
    super::wait_until(
        "the calls around are judged",
        std::time::Duration::from_secs(60),
        || {
            let expected = scored(Path::new(CALLS), &site.config());
            site.by_key("alerts") == expected
        },
    );
    // Each with its reason and its bytes.
    let letters = site.read("dead-letter");
    let mut expected: BTreeMap<String, usize> = BTreeMap::new();
    for (_, _, reason) in &refused {
        *expected.entry(reason.unwrap().to_owned()).or_default() += 1;
    }
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for letter in &letters {
        *found
            .entry(letter.headers["__connect.errors.exception.class.name"].clone())
            .or_default() += 1;
        assert_eq!(letter.headers["__connect.errors.topic"], site.topic("events"));
        assert!(letter.headers["__connect.errors.offset"].parse::<i64>().is_ok());
        assert!(!letter.headers["__connect.errors.exception.message"].contains("hello"));
    }
    assert_eq!(found, expected);
    for (letter, (key, value, reason)) in letters.iter().zip(&refused) {
        assert_eq!(letter.headers["__connect.errors.exception.class.name"], reason.unwrap());
        assert_eq!(letter.key.as_bytes(), key.as_deref().unwrap());
        assert!(letter.value == *value, "the bytes of {reason:?} are as they came");
    }
    for (reason, count) in expected {
        let series = format!("callward_records_rejected_total{{reason=\"{reason}\"}}");
        assert_eq!(serve.metric(&series), count as f64, "{reason}");
    }
    assert!(serve.metric("callward_events_total{fate=\"duplicate\"}") >= 2.0);
    assert!(serve.metric("callward_events_total{fate=\"ignored\"}") >= 2.0);
    assert!(serve.sum("callward_field_slips_total") >= 6.0);
    let log = serve.log();
    for word in ["secret", "hello", "boo"] {
        assert!(!log.contains(word), "{word} stands in the log");
    }
}
