//! Questions and answers, and whose, when and whether: what a call holds after a few turns, on the lexicon as it is
//! written.

use std::sync::{Arc, OnceLock};

use callward::alert::{Alert, Level, Settings};
use callward::call::{Bounds, Heard, Moment};
use callward::pipeline::{Cause, Outcome, outcomes_of};
use callward::record::{Limits, Timestamp, decode};
use callward::registry::Version;
use callward::signals::{Lexicon, Needed, Reader, Source, Status};

fn reader() -> &'static Reader {
    static READER: OnceLock<Reader> = OnceLock::new();
    READER.get_or_init(|| {
        let source = Source::read("models/lexicon".as_ref()).unwrap();
        Reader::new(Arc::new(Lexicon::compile(&source).unwrap()), Arc::default())
    })
}

/// Takes in turns, the agent's first and then in turn; an empty one is silence.
fn after(turns: &[&str]) -> Heard {
    let mut heard = Heard::default();
    for (seq, text) in (0..).zip(turns).filter(|(_, text)| !text.is_empty()) {
        if seq % 2 == 0 {
            heard.agent(reader().agent(text).question, seq);
        } else {
            let moment = Moment {
                seq,
                at: Timestamp::from_millis(seq as i64 * 5_000),
                typed: false,
            };
            heard.caller(reader().lexicon(), &reader().caller(text), text, moment);
        }
    }
    heard
}

fn evidence(heard: &Heard, id: &str) -> f32 {
    let concept = reader().lexicon().find(id).unwrap();
    heard.find(concept).map_or(0.0, |known| known.evidence())
}

fn is_present(turns: &[&str], id: &str) -> bool {
    let concept = reader().lexicon().find(id).unwrap();
    after(turns).find(concept).is_some_and(|known| known.is_present())
}

#[test]
fn answers_affirm_and_deny_what_was_asked() {
    let yes = ["do you have any chest pain", "yes i do"];
    let no = ["do you have any chest pain", "no"];
    let unknown = ["do you have a fever", "i don't know"];
    assert!(is_present(&yes, "chest_pain"));
    assert!(!is_present(&no, "chest_pain"));
    assert!(!is_present(&unknown, "fever"));
    assert!(!is_present(
        &["any chest pain or trouble breathing", "it's, no, nothing like that"],
        "chest_pain"
    ));
    assert!(!is_present(&["", "headaches? no, no, nothing"], "headache"));
}

#[test]
fn a_bare_no_leaves_standing_what_was_told() {
    let told = ["how can i help", "i've got chest pain and it's spreading"];
    let asked = [told[0], told[1], "is there chest pain when you lie down as well", "no"];
    let (before, then) = (
        evidence(&after(&told), "chest_pain"),
        evidence(&after(&asked), "chest_pain"),
    );
    assert!(before >= 0.8 && then >= before, "{before} {then}");
}

#[test]
fn of_a_list_the_one_that_is_named_is_meant() {
    let heard = after(&["any headache, rash or vomiting", "yes the headache"]);
    assert!(evidence(&heard, "headache") > 0.8);
    assert_eq!(evidence(&heard, "rash"), 0.0);
    assert_eq!(evidence(&heard, "vomiting"), 0.0);
}

#[test]
fn a_question_that_rules_out_is_not_affirmed_by_a_yes() {
    let turns = ["is he drinking okay and not too sleepy", "yeah he just ate a waffle"];
    assert_eq!(evidence(&after(&turns), "drowsy"), 0.0);
    let asked = ["is he sleepy", "yeah very"];
    assert!(evidence(&after(&asked), "drowsy") > 0.5);
}

#[test]
fn what_is_of_others_or_feared_gives_no_fact() {
    let has = |text: &str, fact: &str| after(&["", text]).has(reader().lexicon().fact(fact).unwrap());
    assert!(has("i have diabetes", "diabetes"));
    assert!(!has("my brother had diabetes and died of it", "diabetes"));
    assert!(has("the pain is getting worse", "worse"));
    assert!(!has("should i call back if it gets worse", "worse"));
}

#[test]
fn a_story_without_marks_is_not_denied_by_its_last_word() {
    let story = "my chest is really tight and it goes down my arm and i asked my wife to come over and sit with me \
                 because i was worried about being by myself but she said no";
    assert!(is_present(&["", story], "chest_pain"));
    assert!(!is_present(&["", "chest pain no"], "chest_pain"));
}

#[test]
fn the_clause_before_says_when() {
    assert!(!is_present(
        &["", "When I was younger, I had chest pain."],
        "chest_pain"
    ));
    assert!(is_present(&["", "When I walk, I have chest pain."], "chest_pain"));
}

#[test]
fn talk_in_another_language_counts_as_not_understood() {
    let pipeline = Version::embedded().unwrap().pipeline(Settings::default()).unwrap();
    let reasons = |text: &str| {
        let line = serde_json::json!({
            "call_id": "c", "seq": 0, "at": "2026-05-04T09:00:00Z", "type": "utterance", "speaker": "caller", "text": text,
        });
        let event = decode(line.to_string().as_bytes(), None, &Limits::default())
            .unwrap()
            .event;
        outcomes_of(&pipeline, &[event])[0].trust_reasons.clone()
    };
    let spanish = "hola buenos días llamo porque mi madre tiene mucho dolor en el pecho desde esta mañana y suda";
    let english =
        "hello good morning i am calling because my mother has had a bad pain in the chest since this morning";
    assert_eq!(reasons(spanish), ["unknown_words"]);
    assert!(reasons(english).is_empty());
}

#[test]
fn a_question_about_the_past_does_not_reach_the_answer_to_the_next() {
    let heard = |turns: &[&str]| {
        let mut heard = Heard::default();
        let (last, asked) = turns.split_last().unwrap();
        for (seq, text) in (0..).zip(asked) {
            heard.agent(reader().agent(text).question, seq);
        }
        let moment = Moment {
            seq: 9,
            at: Timestamp::from_millis(9_000),
            typed: false,
        };
        heard.caller(reader().lexicon(), &reader().caller(last), last, moment);
        evidence(&heard, "chest_pain")
    };
    let (past, now) = ("Any past medical history?", "Okay. And what's going on today?");
    let told = "a crushing chest pain";
    assert!(heard(&[past, told]) < 0.4);
    assert!(heard(&[past, now, told]) > 0.7);
}

/// What became of a call's events: the states of its alerts and why each event was judged so.
fn judged(events: &[serde_json::Value]) -> Vec<(Option<&'static str>, Vec<String>)> {
    let pipeline = Version::embedded().unwrap().pipeline(Settings::default()).unwrap();
    let events: Vec<_> = (0..)
        .zip(events)
        .map(|(second, event)| {
            let mut event = event.clone();
            event["call_id"] = "c".into();
            if event.get("at").is_none() {
                event["at"] = format!("2026-05-04T09:00:{:02}Z", second * 5).into();
            }
            decode(event.to_string().as_bytes(), None, &Limits::default())
                .unwrap()
                .event
        })
        .collect();
    let present = |outcome: &Outcome| {
        let told = outcome
            .applied
            .changes
            .iter()
            .filter(|change| change.status == Status::Present);
        told.map(|change| pipeline.lexicon().concept(change.concept).id.clone())
            .collect()
    };
    let state = |outcome: &Outcome| outcome.alert.as_ref().map(|alert| alert.state.as_str());
    outcomes_of(&pipeline, &events)
        .iter()
        .map(|outcome| (state(outcome), present(outcome)))
        .collect()
}

const ACUTE: &str = "i have a crushing chest pain going down my left arm and i am sweating and can not get my breath";

#[test]
fn only_a_clinician_settles_an_emergency() {
    let told = |last: serde_json::Value| {
        let events = [
            serde_json::json!({"type": "utterance", "speaker": "caller", "text": ACUTE}),
            serde_json::json!({"type": "utterance", "speaker": "agent", "text": "okay and your date of birth"}),
            serde_json::json!({"type": "utterance", "speaker": "agent", "text": "and your insurance"}),
            last,
        ];
        let states: Vec<_> = judged(&events).into_iter().filter_map(|(state, _)| state).collect();
        states.contains(&"cleared")
    };
    let escalated = |to: &str| serde_json::json!({"type": "action", "action": "escalated", "to": to});
    let ended = |how: &str| serde_json::json!({"type": "call_ended", "disposition": how});
    assert!(told(escalated("nurse")) && told(ended("escalated")));
    assert!(!told(escalated("supervisor")) && !told(escalated("billing")) && !told(ended("transferred")));
    // To whom, or whether it was only understood so, cannot be read.
    let unclear = |field: &str, value: serde_json::Value| {
        let mut event = escalated("nurse");
        event[field] = value;
        event
    };
    assert!(!told(unclear("to", serde_json::json!({"queue": "billing"}))));
    assert!(!told(unclear("to", "n".repeat(300).into())));
    assert!(!told(unclear("inferred", "true".into())));
}

#[test]
fn a_finding_with_the_number_of_the_hand_over_is_new() {
    let events = [
        serde_json::json!({"type": "utterance", "speaker": "caller", "text": "i need a refill", "seq": 1}),
        serde_json::json!({"type": "action", "action": "escalated", "to": "nurse"}),
        serde_json::json!({"type": "utterance", "speaker": "caller", "text": ACUTE, "seq": 2}),
        serde_json::json!({"type": "action", "action": "appointment_booked"}),
    ];
    assert!(judged(&events).iter().any(|(state, _)| state.is_some()));
}

#[test]
fn what_is_said_while_a_hand_over_is_under_way_pages_nobody_again() {
    let call = |minute: u32, closed: bool| {
        let mut events = vec![
            event(
                "00:00",
                serde_json::json!({"type": "utterance", "seq": 1, "speaker": "caller", "text": ACUTE}),
            ),
            event(
                "00:09",
                serde_json::json!({"type": "action", "seq": 2, "action": "escalated", "to": "nurse"}),
            ),
            event(
                &format!("{minute:02}:20"),
                serde_json::json!({"type": "utterance", "seq": 3, "speaker": "caller", "text": "and i passed out twice and i am coughing up blood"}),
            ),
        ];
        let later = [
            (28, "okay"),
            (40, "she is looking for your chart"),
            (52, "just a bit longer"),
        ];
        for (seq, (second, text)) in (4..).zip(later) {
            events.push(event(
                &format!("{minute:02}:{second}"),
                serde_json::json!({"type": "utterance", "seq": seq, "speaker": "agent", "text": text}),
            ));
        }
        if closed {
            events.push(event(
                &format!("{minute:02}:58"),
                serde_json::json!({"type": "action", "seq": 9, "action": "appointment_booked", "starts_in_minutes": 4000}),
            ));
        }
        alerts(&events).iter().any(Alert::is_page)
    };
    assert!(!call(0, false), "the nurse is on her way");
    assert!(call(0, true), "a visit is no nurse");
    assert!(call(3, false), "nobody came for three minutes");
}

#[test]
fn a_yes_may_come_before_the_question_is_final() {
    let events = [
        serde_json::json!({"type": "utterance", "speaker": "agent", "text": "do you have any chest pain", "utterance_id": "u", "is_final": false}),
        serde_json::json!({"type": "utterance", "speaker": "caller", "text": "yes i do"}),
    ];
    assert!(judged(&events)[1].1.contains(&"chest_pain".to_owned()));
}

#[test]
fn a_partial_result_tells_what_is_new_in_it() {
    let events = [
        serde_json::json!({"type": "utterance", "speaker": "caller", "text": "i have chest pain"}),
        serde_json::json!({"type": "utterance", "speaker": "caller", "text": "and i threw up", "utterance_id": "u", "is_final": false}),
    ];
    let told = judged(&events);
    assert!(told[0].1.contains(&"chest_pain".to_owned()));
    assert!(told[1].1.contains(&"vomiting".to_owned()) && !told[1].1.contains(&"chest_pain".to_owned()));
}

#[test]
fn the_end_of_a_call_is_judged_however_much_was_said() {
    let pipeline = Version::embedded().unwrap().pipeline(Settings::default()).unwrap();
    let pipeline = pipeline.with_bounds(Bounds {
        max_events: 1,
        ..Bounds::default()
    });
    let event = |line: serde_json::Value| {
        decode(line.to_string().as_bytes(), None, &Limits::default())
            .unwrap()
            .event
    };
    let events = [
        event(
            serde_json::json!({"call_id": "c", "at": "2026-05-04T09:00:00Z", "type": "utterance", "speaker": "caller", "text": ACUTE}),
        ),
        event(
            serde_json::json!({"call_id": "c", "at": "2026-05-04T09:00:05Z", "type": "utterance", "speaker": "agent", "text": "okay"}),
        ),
        event(serde_json::json!({"call_id": "c", "at": "2026-05-04T09:00:09Z", "type": "call_ended"})),
    ];
    let outcomes = outcomes_of(&pipeline, &events);
    let ended = outcomes.iter().filter_map(|outcome| outcome.alert.as_ref());
    assert!(
        ended
            .map(|alert| alert.state.as_str())
            .any(|state| state == "ended_unescalated")
    );
}

fn outcomes(events: &[serde_json::Value]) -> Vec<Outcome> {
    let pipeline = Version::embedded().unwrap().pipeline(Settings::default()).unwrap();
    let events: Vec<_> = events
        .iter()
        .map(|event| {
            decode(event.to_string().as_bytes(), None, &Limits::default())
                .unwrap()
                .event
        })
        .collect();
    outcomes_of(&pipeline, &events)
}

fn alerts(events: &[serde_json::Value]) -> Vec<Alert> {
    outcomes(events)
        .into_iter()
        .filter_map(|outcome| outcome.alert)
        .collect()
}

fn event(at: &str, mut event: serde_json::Value) -> serde_json::Value {
    event["call_id"] = "c".into();
    event["at"] = format!("2026-05-04T09:{at}Z").into();
    event
}

#[test]
fn a_transfer_leg_may_count_anew_and_leave_out_what_was_told() {
    let events = [
        event(
            "00:00",
            serde_json::json!({"type": "call_started", "seq": 0, "callback_ref": "cb-1", "site": "tempe", "patient": {"age": 71}}),
        ),
        event(
            "00:09",
            serde_json::json!({"type": "utterance", "seq": 1, "speaker": "caller", "text": "hello i have a question"}),
        ),
        event(
            "00:20",
            serde_json::json!({"type": "call_ended", "seq": 2, "disposition": "transferred"}),
        ),
        event(
            "00:25",
            serde_json::json!({"type": "call_started", "seq": 0, "queue": "billing"}),
        ),
        event(
            "00:31",
            serde_json::json!({"type": "utterance", "seq": 1, "speaker": "caller", "text": ACUTE}),
        ),
        event(
            "00:35",
            serde_json::json!({"type": "action", "seq": 2, "action": "appointment_booked", "starts_in_minutes": 4000}),
        ),
    ];
    // What the first leg said comes again, and ends nothing.
    let again = [&events[..4], &events[1..3], &events[4..]].concat();
    assert_eq!(alerts(&again), alerts(&events));
    let alerts = alerts(&events);
    let page = alerts
        .iter()
        .find(|alert| alert.is_page())
        .expect("the second leg is heard");
    assert_eq!(page.callback_ref.as_deref(), Some("cb-1"));
    assert_eq!(
        (page.site.as_deref(), page.queue.as_deref()),
        (Some("tempe"), Some("billing"))
    );
    assert!(
        page.seq > 2,
        "its numbers go on behind those of the first: {}",
        page.seq
    );
}

#[test]
fn a_caller_who_said_nothing_pages_nobody() {
    let events = [
        event("00:00", serde_json::json!({"type": "call_started"})),
        event(
            "00:03",
            serde_json::json!({"type": "utterance", "speaker": "caller", "text": "..."}),
        ),
        event(
            "00:09",
            serde_json::json!({"type": "utterance", "speaker": "agent", "text": "I can get you in on Thursday, bye"}),
        ),
        event(
            "00:12",
            serde_json::json!({"type": "action", "action": "appointment_booked", "starts_in_minutes": 4000}),
        ),
        event(
            "00:15",
            serde_json::json!({"type": "call_ended", "disposition": "appointment"}),
        ),
    ];
    assert_eq!(alerts(&events), []);
}

#[test]
fn an_alert_tells_the_threshold_that_was_crossed() {
    let events = [
        event(
            "00:00",
            serde_json::json!({"type": "utterance", "speaker": "caller", "text": ACUTE}),
        ),
        event(
            "00:09",
            serde_json::json!({"type": "utterance", "speaker": "agent", "text": "okay and your date of birth"}),
        ),
        event(
            "00:12",
            serde_json::json!({"type": "action", "action": "appointment_booked", "starts_in_minutes": 4000}),
        ),
    ];
    let alerts = alerts(&events);
    assert!(!alerts.is_empty());
    for alert in alerts {
        assert!(alert.risk >= alert.threshold, "{alert:?}");
    }
}

fn said(at: &str, speaker: &str, text: &str) -> serde_json::Value {
    event(
        at,
        serde_json::json!({"type": "utterance", "speaker": speaker, "text": text}),
    )
}

#[test]
fn the_words_of_an_emergency_are_quoted_however_much_was_said_before() {
    let events = [
        said(
            "00:00",
            "caller",
            "my knee hurts and my back hurts and i have a cough and a rash and a headache and a sore throat and a fever and \
             i feel dizzy and tired and my ear hurts",
        ),
        said(
            "00:05",
            "caller",
            "i took forty of my sleeping pills because i want to die",
        ),
        said("00:09", "agent", "okay and your date of birth"),
        said("00:14", "agent", "i can do thursday at nine"),
    ];
    let pages: Vec<_> = alerts(&events).into_iter().filter(|alert| alert.is_page()).collect();
    let quoted = |alert: &Alert| {
        let mut quotes = alert.said.iter().filter_map(|said| said.quote.as_deref());
        quotes.any(|quote| quote.contains("forty of my sleeping pills"))
    };
    assert!(!pages.is_empty() && pages.iter().all(quoted), "{pages:#?}");
}

#[test]
fn an_alert_speaks_first_of_what_came_after_a_hand_over() {
    let events = [
        said("00:00", "caller", ACUTE),
        event(
            "00:08",
            serde_json::json!({"type": "action", "action": "escalated", "to": "nurse"}),
        ),
        said(
            "03:00",
            "caller",
            "i am back and i took forty of my sleeping pills, i want to die",
        ),
        said("03:05", "agent", "okay and your date of birth"),
        said("03:10", "agent", "i can do thursday at nine"),
    ];
    let page = alerts(&events)
        .into_iter()
        .find(|alert| alert.is_page())
        .expect("it pages");
    assert_eq!(page.said[0].call_seconds, 180.0, "{page:#?}");
    let booking = page.not_done.iter().find(|done| done.seq.is_some());
    assert!(
        booking.is_none_or(|done| done.text.contains(" 5 s") || done.text.contains("10 s")),
        "{page:#?}"
    );
}

#[test]
fn a_partial_result_is_replaced_by_its_own_successor() {
    let part = |at: &str, id: &str, last: bool, text: &str| {
        event(
            at,
            serde_json::json!({"type": "utterance", "speaker": "caller", "utterance_id": id, "is_final": last, "text": text}),
        )
    };
    let events = [
        part("00:01", "u1", false, "i have crushing chest pain"),
        part("00:02", "u2", true, "hello there"),
        part("00:03", "u1", true, "i have a question about my chess game"),
    ];
    let outcomes = outcomes(&events);
    let need = |at: usize| outcomes[at].need.unwrap();
    assert!(need(1) > 2.0 * need(2), "{} {}", need(1), need(2));
}

#[test]
fn a_caller_who_is_being_handed_over_is_not_lost_meanwhile() {
    let events = [
        said("00:05", "caller", ACUTE),
        said("00:08", "agent", "let me get a nurse on the line for you right now"),
        event("00:09", serde_json::json!({"type": "action", "action": "hold_started"})),
        event(
            "01:05",
            serde_json::json!({"type": "action", "action": "escalated", "to": "nurse"}),
        ),
    ];
    let states: Vec<_> = alerts(&events).iter().map(|alert| alert.state.as_str()).collect();
    assert!(!states.contains(&"contact_lost"), "{states:?}");
    // Nobody came: told once, and later that nothing is heard.
    let states: Vec<_> = alerts(&events[..3])
        .iter()
        .map(|alert| (alert.state.as_str(), alert.call_seconds))
        .collect();
    let at = |state: &str| {
        states
            .iter()
            .find(|(own, _)| *own == state)
            .unwrap_or_else(|| panic!("{states:?}"))
            .1
    };
    assert!(at("contact_lost") >= at("handover_unconfirmed") + 40.0, "{states:?}");
}

#[test]
fn what_is_to_happen_is_what_the_level_asks() {
    let events = [
        said(
            "00:00",
            "caller",
            "i am vomiting blood, a lot of blood, and i am fainting",
        ),
        said("00:05", "agent", "okay and your date of birth"),
        said("00:10", "agent", "and your insurance"),
        said(
            "00:15",
            "caller",
            "no no, i am not vomiting blood, no, i am not fainting, it is just a rash and i want a visit",
        ),
        said("00:20", "agent", "are you vomiting any blood"),
        said("00:22", "caller", "no"),
        event("00:40", serde_json::json!({"type": "call_ended"})),
    ];
    let alerts = alerts(&events);
    assert!(!alerts.is_empty());
    for alert in alerts.iter().filter(|alert| alert.level == Level::Emergency) {
        assert_eq!(
            (alert.needed, alert.minimum.action.as_str()),
            (Needed::Emergency, "clinician_now"),
            "{alert:#?}"
        );
    }
}

#[test]
fn a_transfer_leg_just_in_time_goes_on_with_the_call() {
    let applied = |minute: &str| {
        let events = [
            said("00:05", "caller", ACUTE),
            event("00:30", serde_json::json!({"type": "call_ended"})),
            event(minute, serde_json::json!({"type": "call_started"})),
        ];
        outcomes(&events)
            .iter()
            .filter(|outcome| outcome.was_applied())
            .map(|outcome| outcome.events)
            .max()
    };
    assert_eq!((applied("02:30"), applied("02:31")), (Some(3), Some(2)));
}

/// Fates of events of one call.
fn fates(events: &[serde_json::Value]) -> Vec<&'static str> {
    let outcomes = outcomes(events).into_iter();
    outcomes
        .filter(|outcome| outcome.cause == Cause::Event)
        .map(|outcome| outcome.applied.fate.as_str())
        .collect()
}

#[test]
fn a_beginning_that_comes_late_opens_no_call_again_and_one_with_a_number_of_its_own_does() {
    let started = |at: &str, seq: u32| event(at, serde_json::json!({"type": "call_started", "seq": seq}));
    let words = event(
        "00:05",
        serde_json::json!({"type": "utterance", "seq": 1, "speaker": "caller", "text": ACUTE}),
    );
    let ended = event("00:30", serde_json::json!({"type": "call_ended", "seq": 2}));
    // Of the same call, late.
    let late = [words.clone(), ended.clone(), started("00:06", 0)];
    assert_eq!(fates(&late), ["applied", "applied", "late"]);
    // Of a leg, which its source dates by the beginning of the whole talk.
    let leg = [started("00:00", 0), words, ended, started("00:00", 3)];
    assert_eq!(fates(&leg), ["applied"; 4]);
}

#[test]
fn a_finding_is_as_old_as_its_own_number_however_late_it_comes() {
    let known = |numbers: &[(u64, &str)]| {
        let mut heard = Heard::default();
        for (seq, text) in numbers {
            let at = Timestamp::from_millis(*seq as i64 * 5_000);
            let moment = Moment {
                seq: *seq,
                at,
                typed: false,
            };
            heard.caller(reader().lexicon(), &reader().caller(text), text, moment);
        }
        ["chest_pain", "headache"].map(|id| {
            let concept = reader().lexicon().find(id).unwrap();
            heard.since(heard.find(concept).unwrap())
        })
    };
    let (chest, head) = ("my chest hurts", "i have a headache");
    assert_eq!(known(&[(5, chest), (9, head)]), [5, 9]);
    assert_eq!(known(&[(9, head), (5, chest)]), [5, 9]);
    assert_eq!(known(&[(9, chest), (5, head)]), [9, 5]);
}

#[test]
fn a_hand_over_is_understood_by_its_signs() {
    let act = reader().lexicon().find("handover_spoken").unwrap();
    let hands_over = |text: &str| reader().agent(text).acts.contains(&act);
    for told in [
        "Doctor's shouting me to put it through, he's lifting the receiver now.",
        "There's a nurse nodding at me, so I'm letting her have the headset, one moment.",
    ] {
        assert!(hands_over(told), "{told}");
    }
    for other in [
        "The doctor is with a patient now, hold on while I look at the schedule.",
        "A nurse will ring you back this afternoon, she has your message now.",
    ] {
        assert!(!hands_over(other), "{other}");
    }
}
