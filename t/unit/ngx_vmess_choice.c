
/*
 * Copyright (C) ngx_vmess authors
 */

#include "test.h"
#include "ngx_vmess_choice.h"

#include <string.h>


#define TEST_HTML  "text/html,application/xhtml+xml,*/*;q=0.8"


static const struct {
    const char  *format;
    const char  *accept;
    const char  *agent;
    ngx_uint_t   want;
} test_cases[] = {

#define TEST_AGENT(agent, want)                                               \
    { "", "*/*", agent, NGX_VMESS_PROFILE_ ## want },                         \
    { "", "", "x" agent "x", NGX_VMESS_PROFILE_ ## want }

    { "", "", "", NGX_VMESS_PROFILE_V2RAYN },
    { "", "", "curl/8.5.0", NGX_VMESS_PROFILE_V2RAYN },
    { "", TEST_HTML, "Mozilla/5.0 (X11; Linux x86_64)", NGX_VMESS_CHOICE_PAGE },
    { "", "TEXT/HTML", "mihomo/1.19", NGX_VMESS_CHOICE_PAGE },
    { "", "text/htm", "mihomo/1.19", NGX_VMESS_PROFILE_MIHOMO },
    { "", "*/*", "Mozilla/5.0 (X11; Linux x86_64)", NGX_VMESS_PROFILE_V2RAYN },

    { "clash", TEST_HTML, "mihomo/1.19", NGX_VMESS_PROFILE_CLASH },
    { "html", "*/*", "mihomo/1.19", NGX_VMESS_CHOICE_PAGE },
    { "Sing-Box", "", "", NGX_VMESS_PROFILE_SING_BOX },
    { "base64", TEST_HTML, "", NGX_VMESS_PROFILE_V2RAYN },
    { "uri", TEST_HTML, "", NGX_VMESS_PROFILE_URI },
    { "clash2", "", "", NGX_VMESS_PROFILE_V2RAYN },
    { "clas", TEST_HTML, "", NGX_VMESS_CHOICE_PAGE },
    { "quantumultx", "", "", NGX_VMESS_PROFILE_QUANTUMULT_X },
    { "quantumult-x", "", "", NGX_VMESS_PROFILE_QUANTUMULT_X },
    { "loon", "", "", NGX_VMESS_PROFILE_LOON },
    { "surge", "", "", NGX_VMESS_PROFILE_SURGE },
    { "shadowrocket", "", "", NGX_VMESS_PROFILE_SHADOWROCKET },

    TEST_AGENT("HiddifyNext/2.0.5 (android) like ClashMeta v2ray sing-box",
               SING_BOX),
    TEST_AGENT("Karing/1.0 like ClashMeta", SING_BOX),
    TEST_AGENT("SFA/1.11.4 (Build 1; sing-box 1.11.4; language en_US)",
               SING_BOX),
    TEST_AGENT("SFI/1.11.4", SING_BOX),
    TEST_AGENT("sing-box 1.10", SING_BOX),
    TEST_AGENT("FlClash/v0.8.70 clash-verge Platform/android", MIHOMO),
    TEST_AGENT("clash-verge/v2.0.3", MIHOMO),
    TEST_AGENT("ClashMetaForAndroid/2.11.1.Meta", MIHOMO),
    TEST_AGENT("Clash.Meta/1.16", MIHOMO),
    TEST_AGENT("mihomo.party/v1.5.12 (clash.meta)", MIHOMO),
    TEST_AGENT("ClashX Meta/v1.4.1", MIHOMO),
    TEST_AGENT("ClashforWindows/0.20.39", CLASH),
    TEST_AGENT("ClashX Pro/1.118", CLASH),
    TEST_AGENT("Stash/2.7.1 Clash/1.11.0", CLASH),
    TEST_AGENT("Shadowrocket/2070 CFNetwork/1568 Darwin/24.0.0", SHADOWROCKET),
    TEST_AGENT("Quantumult%20X/1.5.0 (iPhone14,2; iOS 17.0)", QUANTUMULT_X),
    TEST_AGENT("Surge iOS/3272", SURGE),
    TEST_AGENT("Loon/762 CFNetwork/1568", LOON),
    TEST_AGENT("Balloon 1", V2RAYN),
    TEST_AGENT("v2rayN/7.10.4", V2RAYN),
    TEST_AGENT("v2rayNG/1.9.39", V2RAYN),
    TEST_AGENT("Happ/3.1.0", V2RAYN),
    TEST_AGENT("Streisand/1.6", V2RAYN)
};


static ngx_str_t
test_text(const char *text)
{
    ngx_str_t  s;

    s.len = strlen(text);
    s.data = test_copy(text, s.len);

    return s;
}


int
main(void)
{
    ngx_str_t   format, accept, agent;
    ngx_uint_t  i, got;
    char        text[700];

    for (i = 0; i < sizeof(test_cases) / sizeof(test_cases[0]); i++) {

        format = test_text(test_cases[i].format);
        accept = test_text(test_cases[i].accept);
        agent = test_text(test_cases[i].agent);

        got = ngx_vmess_choice_format(&format, &accept, &agent);

        test_ok(got == test_cases[i].want, "\"%s\", \"%s\", \"%s\": %d",
                test_cases[i].format, test_cases[i].accept,
                test_cases[i].agent, (int) got);

        free(format.data);
        free(accept.data);
        free(agent.data);
    }

    memset(text, ' ', sizeof(text));
    memcpy(text + 600, "mihomo", 7);

    format = test_text("");
    agent = test_text(text);

    test_ok(ngx_vmess_choice_format(&format, &format, &agent)
            == NGX_VMESS_PROFILE_V2RAYN, "a long one is not read whole");

    free(format.data);
    free(agent.data);

    return test_done();
}
