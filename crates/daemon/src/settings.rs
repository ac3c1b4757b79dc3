//! The form of a setting: its value, what it may be, and how the documented file shows it.

use std::fmt::Write;

/// What a setting may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// A whole number in this range, both ends included.
    Range(u64, u64),
    /// One of these words; of a list, each.
    Words(&'static [&'static str]),
    /// `true` or `false`.
    YesNo,
    /// A text of this form, checked where it is used.
    Form(&'static str),
}

/// One setting as it stands.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Its key in its section.
    pub key: &'static str,
    /// What it does, in lines.
    pub about: &'static [&'static str],
    /// Its value as TOML; `None` if it is not set.
    pub value: Option<String>,
    /// What it may be.
    pub allowed: Allowed,
    /// Whether it is that.
    pub fits: bool,
}

/// The settings under one heading.
#[derive(Clone, Debug)]
pub struct Section {
    /// The heading.
    pub name: &'static str,
    /// What it is for, in lines.
    pub about: &'static [&'static str],
    /// What is in it.
    pub settings: Vec<Setting>,
}

/// A type that a setting may have.
pub trait Value {
    /// As TOML; `None` if it is not set.
    fn literal(&self) -> Option<String>;
    /// Whether it is what is allowed.
    fn fits(&self, allowed: &Allowed) -> bool;
}

impl Value for u64 {
    fn literal(&self) -> Option<String> {
        Some(self.to_string())
    }

    fn fits(&self, allowed: &Allowed) -> bool {
        matches!(allowed, Allowed::Range(low, high) if (low..=high).contains(&self))
    }
}

impl Value for bool {
    fn literal(&self) -> Option<String> {
        Some(self.to_string())
    }

    fn fits(&self, allowed: &Allowed) -> bool {
        *allowed == Allowed::YesNo
    }
}

impl Value for String {
    fn literal(&self) -> Option<String> {
        Some(toml::Value::from(self.as_str()).to_string())
    }

    fn fits(&self, allowed: &Allowed) -> bool {
        match allowed {
            Allowed::Words(words) => words.contains(&self.as_str()),
            Allowed::Form(_) => !self.is_empty(),
            Allowed::Range(..) | Allowed::YesNo => false,
        }
    }
}

impl Value for Option<String> {
    fn literal(&self) -> Option<String> {
        self.as_ref().and_then(Value::literal)
    }

    fn fits(&self, allowed: &Allowed) -> bool {
        self.as_ref().is_none_or(|text| text.fits(allowed))
    }
}

impl Value for Vec<String> {
    fn literal(&self) -> Option<String> {
        Some(toml::Value::from(self.clone()).to_string())
    }

    fn fits(&self, allowed: &Allowed) -> bool {
        self.iter().all(|text| text.fits(allowed))
    }
}

impl Allowed {
    /// As people read it.
    pub fn text(&self) -> String {
        match self {
            Allowed::Range(low, high) => format!("{low} to {high}"),
            Allowed::Words(words) => {
                let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
                quoted.join(", ")
            }
            Allowed::YesNo => "true or false".to_owned(),
            Allowed::Form(form) => (*form).to_owned(),
        }
    }
}

/// Sections as a file: every setting documented, each line of a value commented out.
pub fn document(head: &str, sections: &[Section]) -> String {
    let mut text = String::new();
    let mut line = |line: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{line}");
    };
    head.lines().for_each(|head| line(format!("# {head}").trim_end()));
    for Section { name, about, settings } in sections {
        line("");
        about.iter().for_each(|about| line(&format!("#{about}")));
        line(&format!("[{name}]"));
        for setting in settings {
            line("");
            setting.about.iter().for_each(|about| line(&format!("#{about}")));
            let allowed = setting.allowed.text();
            match &setting.value {
                Some(value) => {
                    line(&format!("# May be: {allowed}"));
                    line(&format!("#{} = {value}", setting.key));
                }
                None => {
                    line(&format!("# May be: {allowed}. Not set by default."));
                    line(&format!("#{} = \"\"", setting.key));
                }
            }
        }
    }
    text
}

/// Declares the sections of a configuration file: one place for each setting's name, type, text, default and range.
macro_rules! sections {
    ($(
        $(#[doc = $about:literal])+
        $section:ident: $type:ident {
            $( $(#[doc = $doc:literal])+ $key:ident: $value:ty = $default:expr, $allowed:expr; )+
        }
    )+) => {
        $(
            $(#[doc = $about])+
            #[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
            #[serde(deny_unknown_fields, default)]
            pub struct $type {
                $( $(#[doc = $doc])+ pub $key: $value, )+
            }

            impl Default for $type {
                fn default() -> Self {
                    $type { $( $key: $default, )+ }
                }
            }

            impl $type {
                fn settings(&self) -> Vec<$crate::settings::Setting> {
                    vec![$( $crate::settings::Setting {
                        key: stringify!($key),
                        about: &[$($doc),+],
                        value: $crate::settings::Value::literal(&self.$key),
                        allowed: $allowed,
                        fits: $crate::settings::Value::fits(&self.$key, &$allowed),
                    } ),+]
                }
            }
        )+

        /// A leader's configuration file.
        #[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Config {
            $( $(#[doc = $about])+ pub $section: $type, )+
        }

        impl Config {
            /// Every setting as it stands, by section.
            pub fn sections(&self) -> Vec<$crate::settings::Section> {
                vec![$( $crate::settings::Section {
                    name: stringify!($section),
                    about: &[$($about),+],
                    settings: self.$section.settings(),
                } ),+]
            }
        }
    };
}

pub(crate) use sections;
