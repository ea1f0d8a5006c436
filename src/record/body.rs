use serde::{Deserialize, Serialize};

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    Started(Started),
    Utterance(Utterance),
    Answer(Answer),
    Action(Action),
    Ended(Ended),
    /// A type that we do not know: counted and skipped, so that a source may send more than we read.
    Unknown,
}

/// A closed set of words in which whatever we do not know is read as `other`, since a slip in an optional field must
/// not silence a caller.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $(#[serde(rename = $word)] $variant,)+
            #[default]
            #[serde(rename = "other")]
            Other,
        }

        impl $name {
            /// `None` where the word is not of the set.
            pub fn known(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)+
                    "other" => Some(Self::Other),
                    _ => None,
                }
            }

            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                    Self::Other => "other",
                }
            }
        }
    };
}

words!(
    /// How the patient reached the service.
    Channel { Phone = "phone", Chat = "chat", Questionnaire = "questionnaire" }
);
words!(
    /// Who spoke.
    Speaker { Caller = "caller", Agent = "agent", Clinician = "clinician", System = "system" }
);
words!(Sex { Female = "female", Male = "male" });
words!(
    /// What the agent did.
    Act {
        Escalated = "escalated",
        EmergencyAdvised = "emergency_advised",
        AppointmentBooked = "appointment_booked",
        MessageTaken = "message_taken",
        CallbackPromised = "callback_promised",
        AdviceGiven = "advice_given",
        HoldStarted = "hold_started",
        HoldEnded = "hold_ended",
        ProtocolOpened = "protocol_opened",
    }
);

/// `call_started`
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Started {
    pub channel: Channel,
    pub queue: Option<Box<str>>,
    pub site: Option<Box<str>>,
    /// The source's own handle for ringing the patient back.
    pub callback_ref: Option<Box<str>>,
    pub agent: Option<Agent>,
    pub patient: Option<Patient>,
}

impl Started {
    /// What a transfer leg tells counts; what it leaves out is what was told before.
    pub fn go_on_with(&mut self, leg: &Self) {
        let Self {
            channel,
            queue,
            site,
            callback_ref,
            agent,
            patient,
        } = leg.clone();
        if channel != Channel::Other {
            self.channel = channel;
        }
        self.queue = queue.or_else(|| self.queue.take());
        self.site = site.or_else(|| self.site.take());
        self.callback_ref = callback_ref.or_else(|| self.callback_ref.take());
        // Another agent answers the leg: what is not told of them is not known.
        self.agent = agent;
        self.patient = match (patient, self.patient.take()) {
            (Some(new), Some(old)) => Some(Patient {
                age: new.age.or(old.age),
                sex: new.sex.or(old.sex),
                language: new.language.or(old.language),
                contacts_72h: new.contacts_72h.or(old.contacts_72h),
            }),
            (new, old) => new.or(old),
        };
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Agent {
    pub role: Option<Box<str>>,
    pub contractor: bool,
    pub tenure_days: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patient {
    /// Years, 0 to 120.
    pub age: Option<u8>,
    pub sex: Option<Sex>,
    /// BCP 47.
    pub language: Option<Box<str>>,
    pub contacts_72h: Option<u16>,
}

/// `utterance`
#[derive(Clone, Debug, PartialEq)]
pub struct Utterance {
    pub speaker: Speaker,
    pub text: Box<str>,
    /// True where the text was longer than the limit and its end is missing.
    pub cut: bool,
    /// The recogniser's, 0 to 1.
    pub confidence: Option<f32>,
    pub utterance_id: Option<Box<str>>,
    /// False for a partial result, which the next event with the same `utterance_id` replaces.
    pub is_final: bool,
}

/// `answer` of a questionnaire.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub question: Box<str>,
    pub answer: Box<str>,
}

/// `action`
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    pub act: Act,
    pub to: Option<Box<str>>,
    pub mode: Option<Box<str>>,
    pub starts_in_minutes: Option<u32>,
    pub within_minutes: Option<u32>,
    pub urgent: bool,
    /// Understood from words by an adapter rather than reported by the desk's own software.
    pub inferred: bool,
}

/// `call_ended`
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ended {
    pub disposition: Option<Box<str>>,
}
