"""From arrival to thanks: consent, who a person is on a platform, screening of the device, completion."""
