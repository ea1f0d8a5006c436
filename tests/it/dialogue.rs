//! Questions and answers, and whose, when and whether: what a call holds after a few turns, on the lexicon as it is
//! written.

use std::sync::{Arc, OnceLock};

use callward::alert::Settings;
use callward::call::{Heard, Moment};
use callward::pipeline::outcomes_of;
use callward::record::{Limits, Timestamp, decode};
use callward::registry::Version;
use callward::signals::{Lexicon, Reader, Source};

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
