/* blocking: several steps of a loop in one pass over memory. Private to runtime. */
#ifndef PDN_BLOCKING_H
#define PDN_BLOCKING_H

#include "runtime/pdn.h"

/* As pdn_relay, of a `whole` relay. */
bool pdn_blocking(const PdnRelay *relay, int threads, int64_t cache, PdnRooms *rooms,
                  PdnLaunch *launch, void *context);

#endif
