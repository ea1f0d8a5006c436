//! How often words are said: used only to choose where to look first.

use std::collections::HashMap;

/// The commonest words of written calls, each with how often it stands in 10,000 words.
const COMMON: &str = "the 477 i 409 is 310 it 240 and 228 you 205 a 191 to 129 that 114 in 110 my 109 on 100 for 93 not 91 no 91 okay \
    84 have 81 at 79 one 77 of 74 do 73 with 72 am 72 can 71 he 70 so 68 like 64 she 64 me 64 this 61 or 57 are 53 \
    will 52 got 50 your 48 they 47 was 45 up 44 good 41 what 40 two 38 just 34 any 34 all 33 her 32 there 29 had 29 \
    get 29 now 29 right 28 but 28 out 27 when 27 would 26 then 26 since 26 put 26 about 25 see 25 we 25 yes 25 did \
    24 oh 24 down 24 be 24 need 24 morning 23 how 23 four 23 three 22 if 22 last 22 doctor 22 thank 21 want 21 back \
    21 same 20 from 20 been 20 today 19 his 19 dr 18 twenty 18 nine 18 says 18 as 18 here 17 him 17 go 17 day 17 \
    name 16 well 16 has 16 hi 16 yeah 16 know 16 five 15 ten 15 before 15 off 15 nothing 15 does 15 anything 15 \
    eight 15 night 15 days 14 them 14 by 14 pain 14 call 14 new 14 over 14 let 14 forty 14 family 14 come 14 ha 14 \
    still 13 fine 13 thirty 13 take 13 time 13 date 13 nurse 12 every 12 six 12 help 12 ask 12 after 12 thursday 12 \
    fifty 12 say 12 birth 12 only 12 little 12 week 12 tomorrow 12 too 12 fever 12 thing 12 said 11 going 11 tell 11 \
    friday 11 an 11 visit 11 monday 11 first 11 blood 11 could 11 care 10 may 10 wife 10 look 10 please 10 calling \
    10 years 10 bring 9 both 9 more 9 seven 9 sorry 9 left 9 birthday 9 thanks 9 eleven 9 something 9 alright 9 \
    chest 9 sure 9 ninety 9 went 9 tuesday 8 form 8 some 8 year 8 trouble 8 wednesday 8 medicine 8 ma 8 hello 8 note \
    8 fifteen 8 side 8 think 8 again 7 never 7 somebody 7 number 7 other 7 work 7 maybe 7 clinic 7 next 7 second 7 \
    feel 7 because 7 yesterday 7 took 7 water 7 nineteen 7 um 7 miss 7 insurance 7 us 7 o 7 send 7 keep 7 should 7 \
    home 6 sir 6 doing 6 check 6 em 6 hear 6 which 6 till 6 mr 6 weeks 6 better 6 give 6 head 6 heart 6";

/// The words of the list, by how often they are said.
pub fn words() -> HashMap<&'static str, u32> {
    let pairs: Vec<&str> = COMMON.split_ascii_whitespace().collect();
    pairs
        .chunks_exact(2)
        .filter_map(|pair| Some((pair[0], pair[1].parse().ok()?)))
        .collect()
}

/// A guess at how often a phrase turns up in 10,000 words.
pub fn often(phrase: &str, common: &HashMap<&str, u32>) -> u32 {
    const RARE: u32 = 2;
    let of = |word: &str| match word.strip_suffix('*') {
        Some(stem) => {
            RARE + common
                .iter()
                .filter(|(word, _)| word.starts_with(stem))
                .map(|(_, often)| often)
                .sum::<u32>()
        }
        None => common.get(word).copied().unwrap_or(RARE),
    };
    let rarest = phrase.split(' ').map(of).min().unwrap_or(RARE);
    if phrase.contains(' ') {
        rarest.div_ceil(8)
    } else {
        rarest
    }
}
