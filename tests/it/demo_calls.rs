//! Golden calls: what must page, in time; what must not.

use callward::alert::{Alert, Settings, State};
use callward::evaluation::Label;
use callward::pipeline::outcomes_of;
use callward::record::{Event, Limits, decode};
use callward::registry::Version;
use callward::simulation;

const NEWSPAPER: [&str; 6] = [
    "demo-chest-tightness",
    "demo-sudden-headache",
    "demo-leg-clot",
    "demo-blood-in-stool",
    "demo-pressure-spike",
    "demo-rib-pain",
];

fn pages() -> Vec<(Label, Vec<Alert>)> {
    pages_with(Settings::default())
}

fn pages_with(settings: Settings) -> Vec<(Label, Vec<Alert>)> {
    let pipeline = Version::embedded().unwrap().pipeline(settings).unwrap();
    simulation::labelled()
        .into_iter()
        .map(|call| {
            let alerts = outcomes_of(&pipeline, &call.events)
                .into_iter()
                .filter_map(|outcome| outcome.alert);
            (call.label, alerts.filter(Alert::is_page).collect())
        })
        .collect()
}

#[test]
fn every_unmet_need_pages_during_the_call_and_the_newspaper_cases_before_the_booking() {
    for (label, pages) in pages().iter().filter(|(label, _)| label.under_escalated) {
        let first = pages.first().unwrap_or_else(|| panic!("{} is silent", label.call_id));
        assert!(
            !first.said.is_empty() && !first.not_done.is_empty(),
            "{}",
            label.call_id
        );
        assert!(
            first
                .said
                .iter()
                .all(|said| said.quote.as_ref().is_some_and(|quote| !quote.is_empty()))
        );
        assert!(
            first.state != State::EndedUnescalated,
            "{} pages only once it has ended",
            label.call_id
        );
        if NEWSPAPER.contains(&label.call_id.as_str()) {
            let closing = label.closing_seq.expect("a newspaper case is booked");
            assert!(
                first.seq < closing,
                "{} pages at {} and is booked at {closing}",
                label.call_id,
                first.seq
            );
        }
    }
    let labels = simulation::labels();
    assert!(
        NEWSPAPER
            .iter()
            .all(|id| labels.iter().any(|label| label.call_id == *id))
    );
}

#[test]
fn twins_that_are_handed_over_at_once_do_not_page() {
    let twins: Vec<_> = pages()
        .into_iter()
        .filter(|(label, _)| label.is_handed_over())
        .collect();
    assert!(twins.len() >= 6);
    for (label, pages) in twins {
        assert!(
            pages.is_empty(),
            "{} pages: {:?}",
            label.call_id,
            pages.first().map(|page| (&page.state, &page.why))
        );
    }
}

#[test]
fn the_harmless_and_the_near_misses_stay_silent() {
    let harmless: Vec<_> = pages()
        .into_iter()
        .filter(|(label, _)| !label.needed.is_need())
        .collect();
    assert!(harmless.len() >= 20);
    let loud: Vec<_> = harmless
        .iter()
        .filter_map(|(label, pages)| pages.first().map(|page| (&label.call_id, &page.why, &page.said)))
        .collect();
    assert!(loud.is_empty(), "{loud:#?}");
}

#[test]
fn a_caller_who_was_hardly_heard_has_the_doubt_on_his_side_at_the_closing() {
    let share = |words, share| {
        let settings = Settings {
            brief_words: words,
            last_chance_share_brief: share,
            ..Settings::default()
        };
        let why =
            |(label, pages): (Label, Vec<Alert>)| pages.into_iter().map(move |page| (label.call_id.clone(), page.why));
        pages_with(settings).into_iter().flat_map(why).collect::<Vec<_>>()
    };
    let never = share(0, 0.01);
    assert_eq!(
        never,
        share(0, 1.0),
        "no call is brief, so the share of brief ones is not asked for"
    );
    let always = share(u32::MAX, 0.01);
    let last_chances = |pages: &[(String, String)]| pages.iter().filter(|(_, why)| why == "last_chance").count();
    assert!(
        last_chances(&always) > last_chances(&never) + 10,
        "every call is brief, and any risk is enough"
    );
}

#[test]
fn a_hand_over_that_was_only_spoken_of_is_told_and_not_taken_back() {
    let pipeline = Version::embedded().unwrap().pipeline(Settings::default()).unwrap();
    let mut events: Vec<Event> = simulation::CALLS
        .lines()
        .filter(|line| line.contains("\"wrong-throat-handover-never-comes\""))
        .map(|line| decode(line.as_bytes(), None, &Limits::default()).unwrap().event)
        .collect();
    let end = events.pop().unwrap();
    // "Let me get a nurse for you", and then small talk for three minutes.
    events.truncate(6);
    let spoken = events.last().unwrap().clone();
    for (number, (speaker, text)) in [
        ("caller", "okay"),
        ("agent", "while we wait, is this still your cell"),
        ("caller", "yes it is"),
        ("agent", "and the email is the school one"),
        ("caller", "yes"),
    ]
    .into_iter()
    .enumerate()
    {
        let line = serde_json::json!({
            "call_id": spoken.call_id.as_str(), "seq": 6 + number, "type": "utterance", "speaker": speaker, "text": text,
            "at": spoken.at.plus_seconds(40 * (number as u32 + 1)).to_string(),
        });
        events.push(
            decode(line.to_string().as_bytes(), None, &Limits::default())
                .unwrap()
                .event,
        );
    }
    events.push(Event {
        seq: Some(11),
        at: spoken.at.plus_seconds(230),
        ..end
    });
    let outcomes = outcomes_of(&pipeline, &events);
    let states: Vec<&str> = outcomes
        .iter()
        .filter_map(|outcome| outcome.alert.as_ref())
        .filter(|alert| alert.is_page() || alert.state == State::Cleared)
        .map(|alert| alert.state.as_str())
        .collect();
    assert_eq!(states.first(), Some(&"handover_unconfirmed"), "{states:?}");
    assert!(!states.contains(&"cleared"), "{states:?}");
    assert_eq!(states.last(), Some(&"ended_unescalated"), "{states:?}");
}

/// Emergencies in the plainest words, each in one turn and once, then an ordinary booking. No model may be talked out of
/// these by how the rest of the call sounds.
const PLAIN: [&str; 16] = [
    "this is the worst headache i have ever had i never had one like it and my neck is stiff",
    "worst headache of my life, it's the worst, i mean the worst, it started an hour ago",
    "i have the worst pain i've ever had in my belly, it came on suddenly an hour ago",
    "my chest has felt tight since this morning and it goes into my jaw",
    "i don't want to be here any more and i have the pills next to me",
    "i feel suicidal and i would take an overdose tonight",
    "my husband can't lift his right arm and his words come out wrong since half an hour ago",
    "my lips are swelling up and my throat is closing after i ate shrimp",
    "i've been throwing up blood since last night",
    "my baby is five weeks old and has a fever of 101.5",
    "my calf is swollen and hot and now i can't catch my breath",
    "i'm on eliquis and i fell and hit my head an hour ago and now i keep vomiting",
    "my blood pressure is 210 over 120 and i have a bad headache and my sight is blurry",
    "i'm thirty weeks pregnant and i'm bleeding a lot",
    "he had a seizure and he isn't waking up",
    "there's black tarry stool and i nearly fainted in the bathroom",
];

#[test]
fn plain_emergencies_page_by_the_booking_whatever_was_said_before() {
    let pipeline = Version::embedded().unwrap().pipeline(Settings::default()).unwrap();
    let errand = [
        (
            "caller",
            "hi i am calling to get a refill of my blood pressure pills and to move my appointment",
        ),
        ("agent", "sure which pharmacy"),
        (
            "caller",
            "it is for the pharmacy on main street and i changed my insurance card last month",
        ),
        ("agent", "okay got it anything else"),
    ];
    for (emergency, before) in PLAIN
        .iter()
        .flat_map(|said| [(said, &errand[..0]), (said, &errand[..])])
    {
        let after = [
            ("caller", *emergency),
            ("agent", "okay let me see what we have"),
            ("caller", "sure"),
            ("agent", "i can give you thursday at ten"),
        ];
        let said = [("agent", "thank you for calling how can i help you")];
        let events = said.iter().chain(before).chain(&after).zip(0..).map(|((speaker, text), seq)| {
            serde_json::json!({
                "call_id": "plain", "seq": seq, "at": format!("2026-06-01T09:{:02}:{:02}.000Z", seq * 8 / 60, seq * 8 % 60),
                "type": "utterance", "speaker": speaker, "text": text,
            })
        });
        let booked = serde_json::json!({
            "call_id": "plain", "seq": 20, "at": "2026-06-01T09:02:00.000Z", "type": "action",
            "action": "appointment_booked", "starts_in_minutes": 4000,
        });
        let events: Vec<Event> = events
            .chain([booked])
            .map(|event| {
                decode(event.to_string().as_bytes(), None, &Limits::default())
                    .unwrap()
                    .event
            })
            .collect();
        let outcomes = outcomes_of(&pipeline, &events);
        let paged = outcomes
            .iter()
            .filter_map(|outcome| outcome.alert.as_ref())
            .any(Alert::is_page);
        assert!(paged, "{} turns of an errand, then {emergency:?}: silent", before.len());
    }
}
