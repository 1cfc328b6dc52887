#ifndef PDN_VERSION_H
#define PDN_VERSION_H
#define PDN_VERSION "0.1.0"
#endif
