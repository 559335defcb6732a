//! The names Go knows in `\p{…}`: general categories, scripts and three more. The crate knows many other
//! properties, all of which Go refuses.

/// How to ask the crate for a class.
pub(super) enum Query {
    /// Text to put between the braces of `\p{…}`.
    Property(String),
    /// The surrogates, which the crate has no class for.
    Surrogates,
}

/// Short and long names of the general categories and Go's aliases, without separators, in lower case.
const CATEGORIES: &str = "any assigned ascii c cc cf cn co cs l lc ll lm lo lt lu m mc me mn n nd nl no p pc pd pe pf pi po ps \
    s sc sk sm so z zl zp zs casedletter closepunctuation combiningmark connectorpunctuation control currencysymbol \
    dashpunctuation decimalnumber enclosingmark finalpunctuation format initialpunctuation letter letternumber lineseparator \
    lowercaseletter mark mathsymbol modifierletter modifiersymbol nonspacingmark number openpunctuation other otherletter \
    othernumber otherpunctuation othersymbol paragraphseparator privateuse punctuation separator spaceseparator spacingmark \
    surrogate symbol titlecaseletter unassigned uppercaseletter cntrl digit punct";

/// The scripts of Unicode, written in the same way.
const SCRIPTS: &str = "\
    adlam ahom anatolianhieroglyphs arabic armenian avestan balinese bamum bassavah batak bengali bhaiksuki \
    bopomofo brahmi braille buginese buhid canadianaboriginal carian caucasianalbanian chakma cham cherokee chorasmian \
    common coptic cuneiform cypriot cyprominoan cyrillic deseret devanagari divesakuru dogra duployan \
    egyptianhieroglyphs elbasan elymaic ethiopic garay georgian glagolitic gothic grantha greek gujarati gunjalagondi \
    gurmukhi gurungkhema han hangul hanifirohingya hanunoo hatran hebrew hiragana imperialaramaic inherited \
    inscriptionalpahlavi inscriptionalparthian javanese kaithi kannada katakana kawi kayahli kharoshthi \
    khitansmallscript khmer khojki khudawadi kiratrai lao latin lepcha limbu lineara linearb lisu lycian lydian mahajani \
    makasar malayalam mandaic manichaean marchen masaramgondi medefaidrin meeteimayek mendekikakui meroiticcursive \
    meroitichieroglyphs miao modi mongolian mro multani myanmar nabataean nagmundari nandinagari newa newtailue nko \
    nushu nyiakengpuachuehmong ogham olchiki oldhungarian olditalic oldnortharabian oldpermic oldpersian oldsogdian \
    oldsoutharabian oldturkic olduyghur olonal oriya osage osmanya pahawhhmong palmyrene paucinhau phagspa phoenician \
    psalterpahlavi rejang runic samaritan saurashtra sharada shavian siddham signwriting sinhala sogdian \
    sorasompeng soyombo sundanese sunuwar sylotinagri syriac tagalog tagbanwa taile taitham taiviet takri tamil \
    tangsa tangut telugu thaana thai tibetan tifinagh tirhuta todhri toto tulutigalari ugaritic vai vithkuqi \
    wancho warangciti yezidi yi zanabazarsquare";

/// Looks a name up the way Go 1.25 does, without regard to case, `_`, `-` and spaces. Older versions want the
/// exact spelling; what they accept is accepted here.
pub(super) fn class_query(name: &str) -> Option<Query> {
    let name: String = name.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).map(|c| c.to_ascii_lowercase()).collect();
    let is_in = |names: &str| names.split_ascii_whitespace().any(|known| known == name);
    if name == "cs" || name == "surrogate" {
        Some(Query::Surrogates)
    } else if is_in(CATEGORIES) {
        Some(Query::Property(format!("gc={name}")))
    } else if is_in(SCRIPTS) {
        Some(Query::Property(format!("sc={name}")))
    } else {
        None
    }
}

#[cfg(test)]
pub(super) fn known_names() -> impl Iterator<Item = &'static str> {
    CATEGORIES.split_ascii_whitespace().chain(SCRIPTS.split_ascii_whitespace())
}
