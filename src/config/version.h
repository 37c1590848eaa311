/* SPDX-License-Identifier: Apache-2.0 */
/* The release that this is; the same number as in the top CMakeLists.txt, which a test holds it to.
 */
#ifndef CONFIG_VERSION_H
#define CONFIG_VERSION_H

#define SKEIN_VERSION "0.1.0"

#endif
