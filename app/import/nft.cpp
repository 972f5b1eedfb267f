#include "app/import/import.h"
namespace penstock::foreign {
Result<Ruleset> read_nft(const Source&) { return fail("not yet"); }
}
